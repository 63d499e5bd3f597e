"""Dead letters as work: what failed is tried again where it failed, while the graph runs and while it does not."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import orjson

from nvisy.codec.codec import Codec
from nvisy.codec.registry import open_registry
from nvisy.graph.model import Graph
from nvisy.graph.validate import check
from nvisy.plan.compile import compile_graph
from nvisy.runtime.dead_letters import MAX_BYTES, open_entries
from nvisy.runtime.requests import Named
from nvisy.runtime.status import GraphStatus, status_of
from tests.flow.pipeline import Pipeline, edges, stages, text

GUARD = """
from pathlib import Path
from nvisy.primitives import Document

def guard(document: Document) -> Document:
    if "bad" in document.provenance.key and Path(__file__).with_name("closed").exists():
        raise ValueError("not today")
    return document
"""


def guarded(pipeline: Pipeline) -> Pipeline:
    """A chain with a step of the user's that refuses some documents for as long as a file is there."""
    graph = pipeline.chain()
    graph["nodes"].insert(
        2, {"id": "guard", "type": "action", "action": "python", "params": {"function": "guard:guard"}}
    )
    graph["edges"] = edges("files>text", "text>guard", "guard>chunk", "chunk>embed", "embed>index")
    pipeline.graph = graph
    (pipeline.folder / "guard.py").write_text(GUARD)
    (pipeline.folder / "closed").touch()
    return pipeline


def nvisy(pipeline: Pipeline, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "nvisy", *arguments],
        cwd=pipeline.folder,
        env=pipeline.environ,
        capture_output=True,
        timeout=120,
        check=False,
    )


def outcomes(ended: subprocess.CompletedProcess[bytes]) -> dict[str, str]:
    lines = map(orjson.loads, ended.stdout.splitlines())
    return {line["key"]: line["outcome"] for line in lines if "outcome" in line}


def status(pipeline: Pipeline) -> GraphStatus:
    plan = compile_graph(check(Graph.load(pipeline.save())))
    with closing(pipeline.settings.open_log()) as log:
        return status_of(log, plan)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def test_without_a_run_only_the_stages_concerned_are_run_and_nothing_is_paid_twice(
    pipeline: Pipeline,
) -> None:
    guarded(pipeline)
    large = "bad " * (MAX_BYTES // 3)
    pipeline.write({"a.md": text(1), "bad.md": text(2), "bad-large.md": large})
    assert pipeline.run().dead_letters == 2
    with closing(pipeline.settings.open_log()) as log:
        letters = {letter.key: letter for letter in open_entries(log, pipeline.name)}
    assert letters["bad-large.md"].original == b""
    pipeline.docs.rename(pipeline.folder / "elsewhere")  # nothing reads the source
    (pipeline.folder / "closed").unlink()
    ended = pipeline.run(replay=[Named.of(letter) for letter in letters.values()])
    assert (ended.state, ended.dead_letters) == ("completed", 0)
    assert pipeline.keys() == {"a.md", "bad.md", "bad-large.md"}
    idle = status(pipeline)
    assert not idle.running
    assert {stage.lag for stage in idle.stages} == {None, 0}
    (pipeline.folder / "elsewhere").rename(pipeline.docs)
    again = pipeline.run()
    assert (again.state, again.written, again.model_calls) == ("completed", 0, 0)


def test_a_run_that_is_live_is_asked_and_goes_on_meanwhile(pipeline: Pipeline) -> None:
    guarded(pipeline)
    pipeline.write({"a.md": text(1), "bad1.md": text(2), "bad2.md": text(3), "bad3.md": text(4)})
    process = pipeline.start("--follow")
    try:
        until(lambda: len(pipeline.dead_letters()) == 3 and pipeline.keys() == {"a.md"})
        until(lambda: status(pipeline).stages[1].state == "running")
        live = status(pipeline)
        assert live.owner.endswith(f":{process.pid}")
        assert live.dead_letters["guard"].count == 3
        graph = str(pipeline.save())
        (failed,) = [one.id for one in pipeline.dead_letters() if one.key == "bad3.md"]
        dropped = nvisy(pipeline, "dlq", "drop", graph, failed, "--json")
        assert (dropped.returncode, outcomes(dropped)) == (0, {"bad3.md": "dropped"}), dropped.stderr
        again = nvisy(pipeline, "dlq", "replay", graph, "--key", "bad1.md", "--json")
        assert (again.returncode, outcomes(again)) == (4, {"bad1.md": "failed_again"}), again.stderr
        (pipeline.folder / "closed").unlink()
        replayed = nvisy(pipeline, "dlq", "replay", graph, "--all", "--json")
        assert replayed.returncode == 0, replayed.stderr
        assert outcomes(replayed) == {"bad1.md": "resolved", "bad2.md": "resolved"}
        pipeline.write({"b.md": text(5)})
        until(lambda: pipeline.keys() == {"a.md", "b.md", "bad1.md", "bad2.md"})
        assert not pipeline.dead_letters()
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_stage_that_is_killed_while_it_replays_loses_nothing_and_puts_nothing_old_over_new(
    pipeline: Pipeline,
) -> None:
    guarded(pipeline)
    documents = {f"bad{number}.md": text(number) for number in range(120)}
    pipeline.write(documents)
    process = pipeline.start("--follow")
    try:
        until(lambda: len(pipeline.dead_letters()) == len(documents))
        (pipeline.folder / "closed").unlink()
        asking = subprocess.Popen(
            [sys.executable, "-m", "nvisy", "dlq", "replay", str(pipeline.save()), "--all", "--json"],
            cwd=pipeline.folder,
            env=pipeline.environ,
            stdout=subprocess.PIPE,
        )
        pipeline.write({f"bad{number}.md": text(1000 + number) for number in range(0, 120, 2)})
        until(lambda: len(pipeline.dead_letters()) < len(documents))
        stages(process.pid)[1].kill()
        answered, _ = asking.communicate(timeout=120)
        assert asking.returncode == 0, answered
        newest = {f"bad{number}.md": text(1000 + number) for number in range(0, 120, 2)}
        until(
            lambda: (
                contents(pipeline) == {key: first_line(newest.get(key, documents[key])) for key in documents}
            )
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    with closing(pipeline.settings.open_log()) as log:
        versions: dict[bytes | None, list[int]] = {}
        codec = Codec(open_registry(pipeline.environ, pipeline.settings.state))
        for record in log.scan(f"{pipeline.name}.embed"):
            change = codec.decode_change(
                record.value or b"", topic=record.topic, partition=record.partition, offset=record.offset
            )
            assert change.origin.version is not None
            versions.setdefault(record.key, []).append(change.origin.version.number)
    assert all(found == sorted(found) for found in versions.values())


def contents(pipeline: Pipeline) -> dict[str, str]:
    """The first line of every document in the index."""
    hits = sorted(pipeline.records(), key=lambda hit: hit.span.start if hit.span else 0, reverse=True)
    return {hit.key: first_line(hit.text) for hit in hits}


def first_line(document: str) -> str:
    return document.splitlines()[0]
