"""A part of a graph is run again from its topic: nothing above it runs, and every document keeps its version."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

import nvisy
from nvisy.cli.main import call
from nvisy.codec.codec import Codec
from nvisy.codec.registry import open_registry
from nvisy.errors import Refused, UsageError
from nvisy.runtime.counters import Report
from tests.flow.pipeline import Pipeline, edges, text
from tests.flow.test_lineage import checked

UPPER = """
from pathlib import Path
from nvisy.primitives import Document

def shout(document: Document) -> Document:
    mode = Path(__file__).with_name("mode").read_text()
    if mode == "refuse":
        raise ValueError("not today")
    return document.replaced(text=document.text.upper()) if mode == "loud" else document
"""


@pytest.fixture
def shouting(pipeline: Pipeline) -> Pipeline:
    """A chain with a function that does what a file beside it says: its result may change though nothing else does."""
    graph = pipeline.graph
    graph["nodes"].insert(
        2, {"id": "shout", "type": "action", "action": "python", "params": {"function": "upper:shout"}}
    )
    graph["edges"] = edges("files>text", "text>shout", "shout>chunk", "chunk>embed", "embed>index")
    (pipeline.folder / "upper.py").write_text(UPPER)
    mode(pipeline, "quiet")
    pipeline.write({f"{n}.md": text(n) for n in range(4)})
    pipeline.run()
    return pipeline


def test_everything_below_a_node_is_made_again_and_nothing_above_it_runs(shouting: Pipeline) -> None:
    before = versions(shouting)
    shouting.docs.rename(shouting.folder / "elsewhere")  # no source is asked
    same = rerun(shouting, "text")
    assert (same.state, same.written, same.removed) == ("completed", 0, 0)
    assert same.unchanged == len(shouting.records())
    assert same.nodes["text"]["in"] == 4
    assert same.nodes["files"] == {"in": 0, "out": 0, "filtered": 0, "failed": 0}
    mode(shouting, "loud")
    loud = rerun(shouting, "text")
    assert loud.written > 0
    assert all(hit.text == hit.text.upper() for hit in shouting.records())
    assert versions(shouting) == before
    last = rerun(shouting, "index")
    assert (last.nodes["embed"]["in"], last.written, last.unchanged) == (0, 0, len(shouting.records()))
    assert never_fall(shouting)


def test_one_document_comes_again_at_the_version_it_has(shouting: Pipeline) -> None:
    shouting.write({"1.md": text(11)})
    shouting.run()
    before = versions(shouting)
    mode(shouting, "loud")
    report = rerun(shouting, "text", key="1.md")
    assert (report.nodes["text"]["in"], report.nodes["files"]["in"]) == (1, 0)
    loud = {hit.key for hit in shouting.records() if hit.text == hit.text.upper()}
    assert loud == {"1.md"}
    assert versions(shouting) == before
    assert never_fall(shouting)
    mode(shouting, "quiet")
    shouting.write({"2.md": text(12)})
    assert shouting.run().nodes["text"]["in"] == 1, "positions stayed where they were"


def test_what_was_written_since_a_time_comes_again(shouting: Pipeline) -> None:
    time = datetime.now(UTC)
    shouting.write({"1.md": text(21), "9.md": text(9)})
    shouting.run()
    mode(shouting, "loud")
    assert rerun(shouting, "text", since=time).nodes["text"]["in"] == 2
    assert {hit.key for hit in shouting.records() if hit.text == hit.text.upper()} == {"1.md", "9.md"}
    assert never_fall(shouting)


def test_what_failed_in_a_stage_is_tried_again(shouting: Pipeline) -> None:
    mode(shouting, "refuse")
    shouting.write({"1.md": text(31), "2.md": text(32)})
    assert shouting.run().dead_letters == 2
    mode(shouting, "loud")
    report = rerun(shouting, "text", failed=True)
    assert (report.state, report.dead_letters, report.nodes["text"]["in"]) == ("completed", 0, 2)
    assert {hit.key for hit in shouting.records() if hit.text == hit.text.upper()} == {"1.md", "2.md"}
    mode(shouting, "refuse")
    again = rerun(shouting, "text", key="1.md")
    assert (again.state, again.dead_letters) == ("degraded", 1)
    mode(shouting, "loud")
    assert rerun(shouting, "text", key="1.md").dead_letters == 0, (
        "a letter of a rerun is closed like any other"
    )


def test_duplicates_are_decided_again(embedded: Pipeline) -> None:
    embedded.graph["nodes"].insert(2, {"id": "once", "type": "action", "action": "deduplicate"})
    embedded.graph["edges"] = edges("files>text", "text>once", "once>chunk", "chunk>embed", "embed>index")
    embedded.write({"a.md": "the same words", "b.md": "the same words", "c.md": "others"})
    embedded.run()
    report = rerun(embedded, "once")
    assert (report.state, report.written, report.removed) == ("completed", 0, 0)
    assert embedded.keys() == {"a.md", "c.md"}


def test_a_node_that_begins_no_stage_is_refused_with_what_to_do(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1)})
    embedded.run()
    refused = {
        "embed": r"--from text; or, to run 'embed' alone another time, give the edge \"chunk\" → \"embed\" a topic",
        "files": r"nvisy run",
        "nosuch": r"text, index",
    }
    for node, why in refused.items():
        with pytest.raises(UsageError, match=why):
            rerun(embedded, node)
    with pytest.raises(UsageError, match=r"no document 'b\.md' stands in"):
        rerun(embedded, "text", key="b.md")
    with pytest.raises(UsageError, match="one can be meant"):
        rerun(embedded, "text", key="a.md", failed=True)
    embedded.graph["edges"] = edges(
        "files>text", "text>chunk", f"chunk>embed={embedded.name}.cut", "embed>index"
    )
    embedded.run()
    assert rerun(embedded, "embed").nodes["chunk"]["in"] == 0
    with closing(embedded.settings.open_log()) as log:
        claim = log.claim(embedded.name, "somewhere:123")
        with pytest.raises(Refused, match="somewhere:123"):
            rerun(embedded, "text")
        claim.release()


def test_the_command_ends_with_the_report_of_a_run(
    embedded: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NVISY_STATE", str(embedded.settings.state))
    monkeypatch.delenv("NVISY_LOG", raising=False)
    embedded.write({"a.md": text(1), "b.md": text(2)})
    embedded.run()
    graph = str(embedded.save())
    assert call(["rerun", graph, "--from", "text", "--since", "1h", "--json"]) == 0
    report = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert (report["state"], report["nodes"]["text"]["in"], report["nodes"]["files"]["in"]) == (
        "completed",
        2,
        0,
    )
    assert call(["rerun", graph, "--from", "text", "--since", "2999-01-01"]) == 0
    assert "0 vectors written" in capsys.readouterr().out
    assert call(["rerun", graph, "--from", "text", "--since", "soon"]) == UsageError.exit_code
    assert call(["rerun", graph, "--from", "embed"]) == UsageError.exit_code


def rerun(pipeline: Pipeline, node: str, **options: Any) -> Report:
    return nvisy.rerun(checked(pipeline), node, settings=pipeline.settings, **options)


def mode(pipeline: Pipeline, what: str) -> None:
    Path(pipeline.folder / "mode").write_text(what)


def versions(pipeline: Pipeline) -> dict[str, Any]:
    """The version of each document, as the index remembers it."""
    keys = sorted(pipeline.keys())
    held = {key: nvisy.descent(checked(pipeline), key, settings=pipeline.settings).sinks for key in keys}
    return {key: [one.version for one in sinks] for key, sinks in held.items()}


def never_fall(pipeline: Pipeline) -> bool:
    """Of each key, versions in the topics never decrease, or end at the highest where they do."""
    codec = Codec(open_registry(pipeline.environ, pipeline.settings.state))
    found: dict[tuple[str, bytes | None], list[int]] = {}
    with closing(pipeline.settings.open_log()) as log:
        for topic in (f"{pipeline.name}.files", f"{pipeline.name}.embed"):
            for record in log.scan(topic):
                place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
                change = codec.decode_change(record.value or b"", **place)  # type: ignore[arg-type]
                assert change.origin.version is not None
                found.setdefault((topic, record.key), []).append(change.origin.version.number)
    return all(numbers[-1] == max(numbers) for numbers in found.values())
