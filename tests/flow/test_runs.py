"""Each run is remembered, however it ended: what it did stands in the log, for people and for programs."""

from __future__ import annotations

from contextlib import closing

import orjson
import pytest

import nvisy
from nvisy.cli.main import call
from nvisy.errors import UsageError
from nvisy.runtime.requests import Named
from nvisy.runtime.run_history import event_of, runs_topic
from nvisy.runtime.supervisor import StageFailed
from tests.flow.pipeline import Pipeline, text
from tests.flow.test_dead_letters import guarded
from tests.flow.test_lineage import checked


def test_runs_are_listed_with_how_they_ended(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded(pipeline)
    pipeline.write({"a.md": text(1), "bad.md": text(2)})
    degraded = pipeline.run()
    (pipeline.folder / "closed").unlink()
    replayed = pipeline.run(replay=[Named.of(letter) for letter in pipeline.dead_letters()])
    pipeline.docs.rename(pipeline.folder / "elsewhere")
    with pytest.raises(StageFailed):
        pipeline.run()
    last, second, first = nvisy.runs(checked(pipeline), settings=pipeline.settings)
    assert (first.id, first.state, first.exit_code) == (degraded.run_id, "degraded", 4)
    assert (first.written, first.model_calls) == (degraded.written, degraded.model_calls)
    assert first.dead_letters == {"guard": 1}
    assert first.nodes["chunk"] == degraded.nodes["chunk"]
    assert (second.id, second.state, second.exit_code) == (replayed.run_id, "completed", 0)
    assert second.stages == ("index", "text") if len(second.stages or ()) == 2 else ("text",)
    assert (last.state, last.exit_code) == ("failed", 3)
    assert "docs" in last.error
    with closing(pipeline.settings.open_log()) as log:
        events = [event_of(record)["event"] for record in log.scan(runs_topic(pipeline.name))]
    assert events[:2] == ["run.began", "run.ended"]

    monkeypatch.setenv("NVISY_STATE", str(pipeline.settings.state))
    if pipeline.settings.log_url:
        monkeypatch.setenv("NVISY_LOG", pipeline.settings.log_url)
    else:
        monkeypatch.delenv("NVISY_LOG", raising=False)
    graph = str(pipeline.save())
    assert call(["runs", graph]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[1:]] == [last.id, second.id, first.id]
    assert call(["runs", "show", graph, first.id[:8], "--json"]) == 0
    assert orjson.loads(capsys.readouterr().out)["dead_letters"] == {"guard": 1}
    assert call(["runs", "show", graph, first.id]) == 0
    assert "node        chunk: " in capsys.readouterr().out
    assert call(["runs", "show", graph, "nosuch"]) == call(["runs", graph, "x"]) == UsageError.exit_code
