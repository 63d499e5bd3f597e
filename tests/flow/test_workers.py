"""Several processes of each stage, which share its partitions."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import pytest

from nvisy.runtime.stage_process import StageView
from tests.flow.pipeline import Pipeline, text
from tests.flow.test_poison import fill, prepare

DOCUMENTS = {f"{seed}.md": text(seed) for seed in range(80)}


class Seen:
    """The copies of every stage that worked, and the process of one of them is killed."""

    def __init__(self) -> None:
        self.copies: dict[str, int] = {}

    def watch(self, _plan: Any, views: Mapping[str, StageView]) -> None:
        for name, view in views.items():
            done = sum(node.received for node in view.counters.nodes.values())
            self.copies[name] = max(self.copies.get(name, 0), done)


@pytest.mark.timeout(400)
def test_the_index_is_what_one_process_would_leave_and_every_copy_has_its_part(pipeline: Pipeline) -> None:
    pipeline.write(DOCUMENTS)
    seen = Seen()
    report = pipeline.run(workers=2, watch=seen.watch)
    assert report.state == "completed"
    assert pipeline.keys() == DOCUMENTS.keys()
    assert set(seen.copies) == {"files", "text/0", "text/1", "index/0", "index/1"}
    assert all(seen.copies[name] for name in ("text/0", "text/1", "index/0", "index/1"))
    for key in ("3.md", "4.md"):
        (pipeline.docs / key).unlink()
    pipeline.write({"5.md": "changed"})
    again = pipeline.run()  # one process takes over what two had
    assert pipeline.keys() == DOCUMENTS.keys() - {"3.md", "4.md"}
    assert [hit.text for hit in pipeline.records(key="5.md")] == ["changed"]
    assert again.nodes["text"]["in"] == 1


@pytest.mark.timeout(400)
def test_a_changed_graph_is_read_anew_by_every_copy(embedded: Pipeline) -> None:
    embedded.write(DOCUMENTS)
    embedded.run(workers=3)
    chunk = next(node for node in embedded.graph["nodes"] if node["id"] == "chunk")
    chunk["params"]["size"] = 400
    report = embedded.run(workers=2)
    assert report.nodes["text"]["in"] == len(DOCUMENTS)
    assert embedded.keys() == DOCUMENTS.keys()
    assert embedded.run(workers=3).nodes["text"]["in"] == 0


@pytest.mark.timeout(400)
def test_one_copy_sweeps_when_all_have_taken_everything_in(embedded: Pipeline) -> None:
    embedded.write(DOCUMENTS)
    embedded.run(workers=2)
    for key in ("3.md", "4.md"):
        (embedded.docs / key).unlink()
    shutil.rmtree(embedded.settings.state / "log")
    shutil.rmtree(embedded.settings.state / "known")
    report = embedded.run(workers=2, adopt=True)
    assert report.state == "completed"
    assert embedded.keys() == DOCUMENTS.keys() - {"3.md", "4.md"}


@pytest.mark.timeout(400)
def test_poison_stops_neither_its_copy_nor_the_others(pipeline: Pipeline) -> None:
    prepare(pipeline)
    healthy = fill(pipeline, "SEGV", "EXIT", healthy=100)
    assert pipeline.run(workers=2).state == "degraded"
    assert pipeline.keys() == healthy
    assert {letter.kind for letter in pipeline.dead_letters()} == {"poison"}
