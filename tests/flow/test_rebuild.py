"""An index is built anew beside the one that is asked, and takes its place when it is whole: as a user does it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

import nvisy
from connectors.vector.tests.qdrant_double import QdrantDouble
from nvisy.catalog import Catalog
from nvisy.errors import Refused, UsageError
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.rebuilding.bringing import RebuildReport
from nvisy.rebuilding.estimate import estimate
from nvisy.runtime.generations import Generations, generations_of
from nvisy.topics.embedded.log import EmbeddedLog
from nvisy.topics.log import TopicInfo
from tests.flow.dying import VARIABLE
from tests.flow.pipeline import Pipeline, edges, text
from tests.flow.test_topics import produce, reading

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
    "LANE_NOTED",
    "CLAIMED",
    "TOPICS_MADE",
    "STAGE_GOES",
    "LANE_FILLED",
    "LANE_VERIFIED",
    "SWAP_NOTED",
    "SERVED",
)


@pytest.mark.timeout(900)  # for what hangs: it takes half a minute where nothing else runs
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
    assert rebuilt(indexed).generation == 2
    assert rebuilt(indexed).state == "unchanged"
    assert {hit.text for hit in indexed.records()} == texts
    assert verified(indexed)
    assert indexed.run().written == 0


@pytest.mark.timeout(900)
def test_killed_on_the_way_back_and_in_a_drop_it_comes_to_the_same_end(indexed: Pipeline) -> None:
    texts = {hit.text for hit in indexed.records()}
    former = indexed.graph
    change_model(indexed)
    rebuilt(indexed)
    for point in ("LANE_FILLED", "SWAP_NOTED", "SERVED"):
        assert command(indexed, "rebuild", "--rollback", dies_at=point) == -signal.SIGKILL, point
        assert {hit.text for hit in indexed.records()} == texts
    assert nvisy.rollback(checked(indexed), settings=indexed.settings).generation == 1
    for point in ("DROP_NOTED", "DROPPED"):
        assert command(indexed, "rebuild", "--finish", dies_at=point) == -signal.SIGKILL, point
    nvisy.finish(checked(indexed), settings=indexed.settings)
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


@pytest.fixture(params=[pytest.param("pgvector", marks=pytest.mark.postgres), "qdrant"])
def stored(request: pytest.FixtureRequest, embedded: Pipeline, tmp_path: Path) -> Iterator[Pipeline]:
    """A pipeline whose index is in another store than a file."""
    sink = embedded.graph["nodes"][-1]
    (tmp_path / "qdrant").mkdir()
    with closing(QdrantDouble(tmp_path / "qdrant")) as double:
        if request.param == "pgvector":
            dsn = request.getfixturevalue("pg_dsn")
            sink.update(provider="vector/pgvector", params={"dsn": dsn, "collection": "index"})
        else:
            sink.update(provider="vector/qdrant", params={"url": double.url, "collection": "index"})
        yield embedded


def test_every_store_lets_another_generation_take_the_place(stored: Pipeline) -> None:
    stored.write({f"{n}.md": text(n) for n in range(5)})
    stored.run()
    change_model(stored)
    assert rebuilt(stored).generation == 2
    assert (dimensions(stored), stored.keys()) == (96, {f"{n}.md" for n in range(5)})
    stored.write({"new.md": text(50)})
    stored.run()
    assert verified(stored)
    report = nvisy.rollback(checked(stored), settings=stored.settings)
    assert (report.state, report.generation, dimensions(stored)) == ("served", 1, 64)
    assert {"new.md"} <= stored.keys()
    assert nvisy.finish(checked(stored), settings=stored.settings).state == "dropped"
    assert {"new.md"} <= stored.keys()


@pytest.mark.kafka
def test_on_kafka_it_is_the_same(on_kafka: Pipeline) -> None:
    on_kafka.write({f"{n}.md": text(n) for n in range(5)})
    on_kafka.run()
    change_model(on_kafka)
    report = rebuilt(on_kafka)
    assert (report.state, report.generation) == ("served", 2)
    on_kafka.write({"new.md": text(50)})
    assert on_kafka.run().written
    assert verified(on_kafka)
    assert nvisy.rollback(checked(on_kafka), settings=on_kafka.settings).generation == 1
    assert {"new.md"} <= on_kafka.keys()
    assert nvisy.finish(checked(on_kafka), settings=on_kafka.settings).state == "dropped"


def test_an_index_built_anew_outlives_its_log(indexed: Pipeline) -> None:
    """A log that knows nothing of generations goes on with the one that readers see."""
    change_model(indexed)
    rebuilt(indexed)
    shutil.rmtree(indexed.folder / ".nvisy" / "log")
    indexed.write({"new.md": text(50)})
    assert indexed.run(adopt=True).state == "completed"
    assert {"new.md"} <= indexed.keys()
    assert verified(indexed)
    change_model(indexed, dimensions=48)
    report = rebuilt(indexed)
    assert (report.state, report.generation, dimensions(indexed)) == ("served", 3, 48)
    assert verified(indexed)


def test_what_a_pass_removed_does_not_come_back(indexed: Pipeline) -> None:
    """Documents that went while the log was another one are in a topic still, without a delete."""
    shutil.copytree(indexed.folder / ".nvisy" / "log", indexed.folder / "copy")
    (indexed.docs / "3.md").unlink()
    indexed.write({"4.md": text(44)})
    indexed.run()
    shutil.rmtree(indexed.folder / ".nvisy" / "log")
    shutil.move(indexed.folder / "copy", indexed.folder / ".nvisy" / "log")
    indexed.run()
    keys = indexed.keys()
    assert "3.md" not in keys
    change_model(indexed)
    assert rebuilt(indexed).state == "served"
    assert indexed.keys() == keys


def test_a_dry_run_counts_what_it_would_take(indexed: Pipeline) -> None:
    n_records = len(indexed.records())
    change_model(indexed)
    found = estimate(checked(indexed), settings=indexed.settings, usd_per_million_tokens=2.0)
    assert (found.documents, found.records, found.model_calls) == (N_DOCUMENTS, n_records, n_records)
    assert found.stages.keys() == {"text", "index"}
    assert found.cost_usd == round(found.tokens * 2.0 / 1_000_000, 4)
    assert found.disk_bytes > n_records * 96 * 4
    assert not found.is_sampled
    assert generations(indexed).current == 1
    indexed.graph["nodes"][3]["params"]["dimensions"] = 64
    assert estimate(checked(indexed), settings=indexed.settings).stages == {}
    indexed.graph["nodes"][-1]["params"]["distance"] = "dot"
    found = estimate(checked(indexed), settings=indexed.settings)
    assert (found.records, found.model_calls, list(found.models)) == (n_records, 0, [])


def test_a_collection_of_the_users_own_is_refused_with_the_reason(embedded: Pipeline) -> None:
    path = embedded.folder / "index.db"
    with closing(apsw.Connection(str(path))) as database:
        database.execute(USERS_TABLE)
    embedded.graph["nodes"][-1]["params"] = {"path": "index.db", "collection": "docs", "create": False}
    embedded.write({"a.md": text(1)})
    embedded.run()
    change_model(embedded)
    with pytest.raises(Refused, match=r'"create": false'):
        estimate(checked(embedded), settings=embedded.settings)
    with pytest.raises(Refused, match=r'"create": false'):
        rebuilt(embedded)


def test_a_topic_whose_beginning_has_expired_is_refused_with_the_reason(
    indexed: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is cheaper to replay has to be whole; where nothing is, an offset says what the index is to hold."""
    describe = EmbeddedLog.describe

    def expired(log: EmbeddedLog, topic: str) -> TopicInfo | None:
        info = describe(log, topic)
        return replace(info, start=dict.fromkeys(info.start, 1)) if info and topic in gone else info

    monkeypatch.setattr(EmbeddedLog, "describe", expired)
    gone = {f"{indexed.name}.embed"}
    indexed.graph["nodes"][-1]["params"]["distance"] = "l2"
    found = estimate(checked(indexed), settings=indexed.settings)
    assert found.replays == [f"{indexed.name}.files"]
    gone = {f"{indexed.name}.files"}
    change_model(indexed)
    for refused in (estimate, nvisy.rebuild):
        with pytest.raises(Refused, match=r"the beginning of \S+files has expired"):
            refused(checked(indexed), settings=indexed.settings)
    with pytest.raises(Refused, match="it begins at 1 by now"):
        rebuilt(indexed, start="0")


def test_a_time_is_a_place_to_replay_from_and_other_words_are_not(indexed: Pipeline) -> None:
    change_model(indexed)
    found = estimate(checked(indexed), settings=indexed.settings, start="2999-01-01")
    assert (found.documents, found.records) == (0, 0)
    found = estimate(checked(indexed), settings=indexed.settings, start="2020-01-01T00:00:00Z")
    assert found.documents == N_DOCUMENTS
    with pytest.raises(UsageError, match="no place to replay from"):
        rebuilt(indexed, start="yesterday")


USERS_TABLE = """CREATE TABLE docs (id TEXT PRIMARY KEY, key TEXT, lane TEXT, source TEXT, version INTEGER,
  source_uri TEXT, span_start INTEGER, span_end INTEGER, content_hash TEXT, steps TEXT, model TEXT, run TEXT,
  observed_at TEXT, topic TEXT, partition INTEGER, metadata TEXT, embedding BLOB, text TEXT)"""


def test_a_topic_of_other_programs_is_replayed_itself(embedded: Pipeline, unique_name: str) -> None:
    """Versions go on from where they are, so what comes later is newer in both indexes."""
    topic = f"{unique_name}-articles"
    reading(embedded, topic)
    produce(embedded, topic, {"1": {"body": "one river"}, "2": {"body": "two stones"}})
    embedded.run()
    change_model(embedded)
    report = rebuilt(embedded)
    assert (report.state, report.replayed) == ("served", [topic])
    produce(embedded, topic, {"1": {"body": "one wider river"}, "2": None})
    embedded.run()
    assert {hit.key: hit.text for hit in embedded.records()} == {"1": "one wider river"}
    assert verified(embedded)
    assert nvisy.rollback(checked(embedded), settings=embedded.settings).generation == 1
    assert {hit.key: hit.text for hit in embedded.records()} == {"1": "one wider river"}


def test_duplicates_stay_away_from_both_indexes(embedded: Pipeline) -> None:
    """What decides over all documents decides anew, for itself, where something before it changed."""
    embedded.graph["nodes"].insert(2, {"id": "unique", "type": "action", "action": "deduplicate"})
    embedded.graph["edges"] = edges("files>text", "text>unique", "unique>chunk", "chunk>embed", "embed>index")
    embedded.write({"a.md": text(1), "b.md": text(1), "c.md": text(2)})
    embedded.run()
    keys = embedded.keys()
    assert len(keys) == 2
    keep = {"id": "keep", "type": "action", "action": "filter", "params": {"when": "size(text) > 0"}}
    former = embedded.graph
    embedded.graph = {**former, "nodes": [*former["nodes"][:2], keep, *former["nodes"][2:]]}
    embedded.graph["edges"] = edges(
        "files>text", "text>keep", "keep>unique", "unique>chunk", "chunk>embed", "embed>index"
    )
    report = rebuilt(embedded)
    assert (report.state, report.stages[1]) == ("served", "unique.2")
    assert embedded.keys() == keys
    (embedded.docs / "a.md").unlink()
    embedded.run()
    assert embedded.keys() == {"b.md", "c.md"}
    assert verified(embedded)
