"""An index is built anew beside the one that is asked, and takes its place when it is whole: as a user does it."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import nvisy
from nvisy.catalog import Catalog
from nvisy.errors import Refused
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.rebuilding.bringing import RebuildReport
from nvisy.runtime.generations import Generations, generations_of
from tests.flow.dying import VARIABLE
from tests.flow.pipeline import Pipeline, edges, text

N_DOCUMENTS = 12


@pytest.fixture
def indexed(embedded: Pipeline) -> Pipeline:
    """Some documents, indexed."""
    embedded.write({f"{n}.md": text(n) for n in range(N_DOCUMENTS)})
    embedded.run()
    return embedded


def test_another_model_takes_the_place_of_the_former(indexed: Pipeline) -> None:
    """The documents' topic is replayed, the source is not asked; runs, searches and verify go on with the new index."""
    before, former = indexed.records(), checked(indexed)
    change_model(indexed)
    with pytest.raises(Exception, match="nvisy rebuild"):
        indexed.run()
    assert dimensions(indexed) == 64, "whoever asks with the new graph asks the former index until then"
    report = rebuilt(indexed)
    assert (report.state, report.generation, report.kept) == ("served", 2, 1)
    assert (report.stages, report.replayed) == (["text.2", "index.2"], [f"{indexed.name}.files"])
    after = indexed.records()
    assert {(one.id, one.text) for one in after} == {(one.id, one.text) for one in before}
    assert (dimensions(indexed), len(nvisy.embed(former, "river", settings=indexed.settings))) == (96, 96)
    assert verified(indexed)
    indexed.write({"3.md": text(99), "new.md": text(100)})
    (indexed.docs / "5.md").unlink()
    run = indexed.run()
    assert run.nodes["files"]["out"] == 3
    assert run.unchanged == 0, "nothing was done over"
    assert verified(indexed)
    assert len(indexed.keys()) == N_DOCUMENTS
    assert nvisy.search(checked(indexed), "river stone", settings=indexed.settings)


def test_done_again_it_is_done(indexed: Pipeline) -> None:
    change_model(indexed)
    rebuilt(indexed)
    again = rebuilt(indexed)
    assert (again.state, again.generation, again.written) == ("unchanged", 2, 0)


def test_where_only_the_store_changed_no_model_is_asked(indexed: Pipeline) -> None:
    """The embeddings' topic serves then, and is shared by both."""
    indexed.graph["nodes"][-1]["params"]["distance"] = "l2"
    report = rebuilt(indexed)
    assert (report.stages, report.replayed) == (["index.2"], [f"{indexed.name}.embed"])
    assert report.model_calls == 0
    assert indexed.run().written == 0
    assert verified(indexed)


def test_with_anew_an_index_is_built_although_nothing_changed(indexed: Pipeline) -> None:
    report = rebuilt(indexed, anew=True)
    assert (report.state, report.stages, report.model_calls) == ("served", ["index.2"], 0)
    assert verified(indexed)


def test_a_topic_between_chunks_and_model_is_what_another_model_needs(embedded: Pipeline) -> None:
    embedded.graph["edges"] = edges("files>text", "text>chunk", "chunk>embed=chunks", "embed>index")
    embedded.write({"a.md": text(1)})
    embedded.run()
    change_model(embedded)
    report = rebuilt(embedded)
    assert (report.stages, report.replayed) == (["embed.2", "index.2"], ["chunks"])


def test_the_former_index_catches_up_before_readers_see_it_again(indexed: Pipeline) -> None:
    """What changed since the swap is in it then, by the model that it is of; twice is once."""
    former = indexed.graph
    change_model(indexed)
    rebuilt(indexed)
    indexed.write({"3.md": text(99), "new.md": text(100)})
    indexed.run()
    report = nvisy.rollback(checked(indexed), settings=indexed.settings)
    assert (report.state, report.generation, report.kept) == ("served", 1, 2)
    assert (report.stages, report.replayed) == (["text", "index"], [f"{indexed.name}.files"])
    assert {"new.md"} <= indexed.keys()
    assert nvisy.rollback(checked(indexed), settings=indexed.settings).state == "unchanged"
    with pytest.raises(Exception, match="nvisy rebuild"):
        indexed.run()
    changed, indexed.graph = indexed.graph, former
    assert indexed.run().written == 0
    assert verified(indexed)
    indexed.graph = changed
    again = rebuilt(indexed)
    assert (again.state, again.generation, again.written) == ("served", 2, 0)


def test_finish_drops_what_readers_do_not_see(indexed: Pipeline) -> None:
    change_model(indexed)
    rebuilt(indexed)
    for again, state in ((False, "dropped"), (True, "unchanged")):
        report = nvisy.finish(checked(indexed), settings=indexed.settings)
        assert (report.state, report.kept, report.left) == (state, 0, []), again
    with closing(indexed.settings.open_log()) as log:
        topics = log.topics()
        assert f"{indexed.name}.embed" not in topics
        assert {f"{indexed.name}.files", f"{indexed.name}.embed.2"} <= set(topics)
    with pytest.raises(Refused, match="no former index"):
        nvisy.rollback(checked(indexed), settings=indexed.settings)
    indexed.write({"new.md": text(100)})
    assert indexed.run().written
    assert verified(indexed)
    change_model(indexed, dimensions=48)
    assert rebuilt(indexed).generation == 3
    assert verified(indexed)


def test_one_former_index_is_kept_and_not_two(indexed: Pipeline) -> None:
    change_model(indexed)
    rebuilt(indexed)
    change_model(indexed, dimensions=48)
    with pytest.raises(Refused, match="--finish"):
        rebuilt(indexed)


def test_nothing_is_known_of_an_index_that_no_run_made(embedded: Pipeline) -> None:
    with pytest.raises(Refused, match="run the graph once"):
        rebuilt(embedded)


def test_what_lies_behind_no_topic_cannot_be_replayed(embedded: Pipeline) -> None:
    embedded.graph["edges"] = edges("files>text=", "text>chunk", "chunk>embed", "embed>index")
    embedded.write({"a.md": text(1)})
    embedded.run()
    change_model(embedded)
    with pytest.raises(Refused, match="no topic lies between the source files and what changed"):
        rebuilt(embedded)


def test_documents_that_fail_only_in_the_new_index_keep_it_from_readers(indexed: Pipeline) -> None:
    """Until they are repaired, or readers may do without them; those that had failed before count for nothing."""
    indexed.graph["nodes"].insert(
        3,
        {
            "id": "short",
            "type": "action",
            "action": "filter",
            "params": {"when": "1 / (size(text) - size(text)) == 1"},
        },
    )
    indexed.graph["edges"] = edges("files>text", "text>chunk", "chunk>short", "short>embed", "embed>index")
    report = rebuilt(indexed)
    assert (report.state, report.generation) == ("dead_letters", 1)
    assert len(report.dead_letters) == N_DOCUMENTS
    assert len(indexed.keys()) == N_DOCUMENTS
    indexed.graph["nodes"][3]["params"]["when"] = "size(text) > 0"
    report = rebuilt(indexed)
    assert (report.state, report.generation) == ("served", 3)
    assert len(indexed.keys()) == N_DOCUMENTS


def test_from_an_offset_the_index_holds_what_changed_since(embedded: Pipeline) -> None:
    """And verify expects no more of it."""
    embedded.graph["log"] = {"partitions": 1}
    embedded.write({f"{n}.md": text(n) for n in range(4)})
    embedded.run()
    embedded.write({"new.md": text(50), "2.md": text(51)})
    embedded.run()
    change_model(embedded)
    report = rebuilt(embedded, start="4")
    assert report.state == "served"
    assert embedded.keys() == {"new.md", "2.md"}
    assert verified(embedded)
    embedded.write({"3.md": text(52)})
    embedded.run()
    assert embedded.keys() == {"new.md", "2.md", "3.md"}
    assert verified(embedded)


def change_model(pipeline: Pipeline, dimensions: int = 96) -> None:
    """Edit the graph as a user does who wants another model: the same collection, other vectors."""
    graph = pipeline.graph = {**pipeline.graph, "nodes": [dict(node) for node in pipeline.graph["nodes"]]}
    embed = next(node for node in graph["nodes"] if node["id"] == "embed")
    embed["params"] = {**embed["params"], "dimensions": dimensions}


def checked(pipeline: Pipeline) -> CheckedGraph:
    """The graph of a pipeline as it is now."""
    return check(Graph.load(pipeline.save()), Catalog.installed(), pipeline.environ)


def rebuilt(pipeline: Pipeline, **options: Any) -> RebuildReport:
    """What a rebuild of the graph as it is now comes to."""
    return nvisy.rebuild(checked(pipeline), settings=pipeline.settings, **options)


def dimensions(pipeline: Pipeline) -> int:
    """Length of the vector that a question becomes for the index that readers see."""
    return len(nvisy.embed(checked(pipeline), "river", settings=pipeline.settings))


def verified(pipeline: Pipeline) -> bool:
    """Whether the index that readers see holds what the log says."""
    report = nvisy.verify(checked(pipeline), settings=pipeline.settings, patience_s=5)
    assert report.drift == []
    return report.is_clean


REBUILDING = (
    "CLAIMED",
    "LANE_NOTED",
    "TOPICS_MADE",
    "STAGE_GOES",
    "LANE_FILLED",
    "LANE_VERIFIED",
    "SWAP_NOTED",
    "SERVED",
)


@pytest.mark.timeout(600)
def test_killed_at_every_phase_and_done_again_it_comes_to_the_same_end(indexed: Pipeline) -> None:
    """Readers find one index or the other, whole, after every kill; a run may come in between."""
    texts = {hit.text for hit in indexed.records()}
    former = indexed.graph
    change_model(indexed)
    for point in REBUILDING:
        assert command(indexed, "rebuild", dies_at=point) == -signal.SIGKILL, point
        assert {hit.text for hit in indexed.records()} == texts
        if point == "LANE_FILLED":  # whoever has the former graph still runs it
            changed, indexed.graph = indexed.graph, former
            indexed.write({"new.md": text(70)})
            indexed.run()
            indexed.graph = changed
            texts = {hit.text for hit in indexed.records()}
    assert command(indexed, "rebuild") == 0
    assert rebuilt(indexed).state == "unchanged"
    assert {hit.text for hit in indexed.records()} == texts
    assert verified(indexed)
    assert indexed.run().written == 0
    for point in ("LANE_FILLED", "SWAP_NOTED", "SERVED"):
        assert command(indexed, "rebuild", "--rollback", dies_at=point) == -signal.SIGKILL, point
        assert {hit.text for hit in indexed.records()} == texts
    assert command(indexed, "rebuild", "--rollback") == 0
    assert nvisy.rollback(checked(indexed), settings=indexed.settings).generation == 1
    for point in ("DROP_NOTED", "DROPPED"):
        assert command(indexed, "rebuild", "--finish", dies_at=point) == -signal.SIGKILL, point
    assert command(indexed, "rebuild", "--finish") == 0
    assert generations(indexed).living.keys() == {1}
    indexed.graph = former
    assert indexed.run().written == 0
    assert verified(indexed)


def test_a_run_completes_the_swap_that_somebody_died_in(indexed: Pipeline) -> None:
    change_model(indexed)
    assert command(indexed, "rebuild", dies_at="SWAP_NOTED") == -signal.SIGKILL
    indexed.write({"new.md": text(70)})
    assert indexed.run().written
    assert generations(indexed).current == 2
    assert verified(indexed)


def command(pipeline: Pipeline, *words: str, dies_at: str = "") -> int:
    """What a command comes to in a process of its own, which may die at a point."""
    (name, *options) = words
    dying = {"NVISY_FAULT_POINTS": "tests.flow.dying:reached", VARIABLE: dies_at} if dies_at else {}
    done = subprocess.run(
        [sys.executable, "-m", "nvisy", name, str(pipeline.save()), *options],
        cwd=pipeline.folder,
        env={**pipeline.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **dying},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr
    return done.returncode


def generations(pipeline: Pipeline) -> Generations:
    """What is noted."""
    with closing(pipeline.settings.open_log()) as log:
        return generations_of(log, pipeline.name)
