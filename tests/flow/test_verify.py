"""`verify` finds what is wrong with an index, each thing by name, and nothing where nothing is; `repair` mends it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import apsw
import orjson
import pytest

import nvisy
from connectors.vector.tests.qdrant_double import QdrantDouble
from nvisy.audit.verify import Report
from nvisy.catalog import Catalog
from nvisy.cli.main import call
from nvisy.errors import Refused
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from tests.flow.pipeline import Pipeline, edges, text
from tests.flow.planting import PLANTS, PostgresRows, QdrantRows, Rows, SqliteRows, plant


@pytest.fixture(params=["sqlite", pytest.param("pgvector", marks=pytest.mark.postgres), "qdrant"])
def filled(
    request: pytest.FixtureRequest, embedded: Pipeline, tmp_path: Path
) -> Iterator[tuple[Pipeline, Rows]]:
    """A pipeline whose index is filled, in each of the stores, in two versions of some documents."""
    sink = embedded.graph["nodes"][-1]
    with closing(QdrantDouble(_folder(tmp_path))) as double:
        rows: Rows
        if request.param == "sqlite":
            rows = SqliteRows(tmp_path / ".nvisy" / "index.db", "index")
        elif request.param == "pgvector":
            dsn = request.getfixturevalue("pg_dsn")
            sink.update(provider="vector/pgvector", params={"dsn": dsn, "collection": "index"})
            rows = PostgresRows(dsn, "index")
        else:
            sink.update(provider="vector/qdrant", params={"url": double.url, "collection": "index"})
            rows = QdrantRows(double.url, "index")
        embedded.write({f"{n}.md": text(n) for n in range(15)})
        embedded.run()
        embedded.write({f"{n}.md": text(n + 100) for n in range(0, 15, 3)} | {"7.md": text(7, 2)})
        (embedded.docs / "8.md").unlink()
        embedded.run()
        yield embedded, rows


def test_each_thing_that_is_planted_is_found_alone_and_mended(filled: tuple[Pipeline, Rows]) -> None:
    pipeline, rows = filled
    before = _listing(pipeline)
    report = verified(pipeline)
    assert report.is_clean
    assert (report.sinks[0].how, report.sinks[0].keys, report.sinks[0].records) == ("log", 15, len(before))
    # The double of Qdrant is slow, and one plant of a kind is enough there: judging is the same for all stores.
    for what in PLANTS[::2] if isinstance(rows, QdrantRows) else PLANTS:
        planted = plant(rows, what)
        report = verified(pipeline)
        assert {(one.kind, one.id) for one in report.drift} == planted.findings, what
        assert len(report.drift) == len(planted.findings), what
        mended = nvisy.repair(checked(pipeline), settings=pipeline.settings)
        assert mended.is_clean, what
        assert mended.sinks[0].documents == 1, what
        assert _listing(pipeline) == before, what
    assert nvisy.repair(checked(pipeline), settings=pipeline.settings).sinks[0].documents == 0
    # A mended index is one that the next run goes on with: nothing is written that has not changed.
    pipeline.write({"1.md": text(1, 5)})
    assert pipeline.run().written == 1
    assert verified(pipeline).is_clean


def test_much_that_is_wrong_is_mended_in_one_go(embedded: Pipeline) -> None:
    """More than is looked at or written at once, of every kind."""
    embedded.write({f"{n}.md": text(n, 1) for n in range(700)})
    embedded.run()
    path = embedded.folder / ".nvisy" / "index.db"
    SqliteRows(path, "index")._run("DELETE FROM index__1 WHERE abs(random()) % 10 < 9")
    SqliteRows(path, "index")._run("UPDATE index__1 SET text = 'x' WHERE key LIKE '1%'")
    before = len(embedded.records())
    seen: list[Any] = []
    report = verified(embedded, found=seen.append)
    assert report.sinks[0].drift["missing"] == 700 - before
    assert len(seen) == sum(report.sinks[0].drift.values())
    mended = nvisy.repair(checked(embedded), settings=embedded.settings)
    assert mended.is_clean
    assert mended.sinks[0].documents == len(seen)
    assert verified(embedded).is_clean


def test_a_document_whose_change_is_not_applied_yet_is_on_its_way(embedded: Pipeline) -> None:
    """What the last stage has not read is no drift; what it has read, and does not hold, is."""
    embedded.write({f"{n}.md": text(n) for n in range(5)})
    embedded.run()
    _put_back_position(embedded)
    rows = SqliteRows(embedded.folder / ".nvisy" / "index.db", "index")
    lost = [hit.id for hit in embedded.records(key="1.md")]
    for name in lost:
        rows.delete(name)
    report = verified(embedded)
    assert report.is_clean
    assert report.sinks[0].on_their_way == 1
    mended = nvisy.repair(checked(embedded), settings=embedded.settings)
    assert mended.sinks[0].documents == 0, "the next run does it"


def test_an_index_of_another_log_is_not_held_against_this_one(embedded: Pipeline) -> None:
    """A log that was made anew says nothing of what the former one led to: nothing is called extra, or taken out."""
    embedded.write({"a.md": text(1)})
    embedded.run()
    (embedded.folder / ".nvisy" / "log").rename(embedded.folder / "former")
    with pytest.raises(Refused, match="name the former log"):
        verified(embedded)
    with pytest.raises(Refused, match="name the former log"):
        nvisy.repair(checked(embedded), settings=embedded.settings)
    embedded.run(adopt=True)
    assert verified(embedded).is_clean


def test_what_failed_at_the_sink_stays_and_is_said(embedded: Pipeline) -> None:
    """A change that the sink's stage refused leaves the older version where it is; that is known, and no drift."""
    embedded.graph["nodes"].insert(
        4,
        {
            "id": "pick",
            "type": "action",
            "action": "filter",
            "params": {"when": "1 / (size(text) - 9) < 1000"},
        },
    )
    embedded.graph["edges"] = edges("files>text", "text>chunk", "chunk>embed", "embed>pick", "pick>index")
    embedded.write({"a.md": "first text", "b.md": "other text"})
    embedded.run()
    embedded.write({"a.md": "nine char"})
    assert embedded.run().dead_letters == 1
    report = verified(embedded)
    assert report.is_clean
    assert report.sinks[0].known_stale == 1
    assert report.sinks[0].how == "log"


def test_steps_of_the_sinks_stage_that_cost_nothing_are_made_again(embedded: Pipeline) -> None:
    """Filters and branches behind the embeddings decide what each sink has to hold."""
    graph = embedded.graph
    graph["nodes"][4:] = [
        {
            "id": "split",
            "type": "branch",
            "params": {"routes": [{"port": "long", "when": "size(text) % 2 == 0"}], "default": "short"},
        },
        embedded.sink("long"),
        embedded.sink("short"),
    ]
    graph["edges"] = edges(
        "files>text", "text>chunk", "chunk>embed", "embed>split", "split:long>long", "split:short>short"
    )
    embedded.write({f"{n}.md": text(n) for n in range(6)})
    embedded.run()
    report = verified(embedded)
    assert report.is_clean
    assert [(one.sink, one.how) for one in report.sinks] == [("long", "log"), ("short", "log")]
    assert all(one.records for one in report.sinks)
    rows = SqliteRows(embedded.folder / ".nvisy" / "index.db", "short")
    planted = plant(rows, "a flipped vector")
    report = verified(embedded)
    assert {(one.kind, one.id) for one in report.drift} == planted.findings
    assert {one.sink for one in report.drift} == {"short"}
    assert verified(embedded, sink="long").is_clean


@pytest.mark.parametrize("way", ["embed>index=", "files>text="])
def test_where_the_records_cannot_be_made_again_heads_say_what_they_can(embedded: Pipeline, way: str) -> None:
    """No topic between model and sink, or none at all: that is said, and what contradicts itself is found."""
    ways = ["files>text", "text>chunk", "chunk>embed", "embed>index="]
    if way == "files>text=":
        ways[0] = way
    embedded.graph["edges"] = edges(*ways)
    embedded.write({f"{n}.md": text(n) for n in range(5)})
    embedded.run()
    report = verified(embedded)
    assert report.is_clean
    assert report.sinks[0].how == ("store" if way == "files>text=" else "head")
    assert report.sinks[0].remarks
    rows = SqliteRows(embedded.folder / ".nvisy" / "index.db", "index")
    for what in ("a flipped vector", "a changed text"):
        row = rows.some()
        planted = plant(rows, what)
        report = verified(embedded)
        assert {(one.kind, one.id) for one in report.drift} == planted.findings, what
        mended = nvisy.repair(checked(embedded), settings=embedded.settings)
        assert not mended.is_clean, "nothing says what it should be"
        rows.put(row)
    assert verified(embedded).is_clean


def test_an_index_is_verified_while_changes_flow(pipeline: Pipeline) -> None:
    """What is on its way is never called wrong; what is wrong is found beside it, and stays while a run is live."""
    pipeline.write({f"{n}.md": text(n) for n in range(40)})
    process = pipeline.start("--follow")
    try:
        _await_index(pipeline, 40)
        with _changing(pipeline, range(10, 40)) as count:
            for _ in range(2):
                report = verified(pipeline)
                assert report.drift == []
                assert report.sinks[0].keys == 40
            rows = SqliteRows(pipeline.folder / ".nvisy" / "index.db", "index")
            planted = pipeline.records(key="3.md")[1].id
            rows.delete(planted)
            report = verified(pipeline)
            assert [(one.kind, one.id, one.key) for one in report.drift] == [("missing", planted, "3.md")]
            with pytest.raises(Refused, match=r"end that run first|is being run"):
                nvisy.repair(checked(pipeline), settings=pipeline.settings)
        assert count[0] > 5
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)
    assert nvisy.repair(checked(pipeline), settings=pipeline.settings).is_clean
    assert verified(pipeline).is_clean


def test_the_command_says_what_is_wrong_and_exits_with_7(
    embedded: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NVISY_STATE", str(embedded.settings.state))
    monkeypatch.delenv("NVISY_LOG", raising=False)

    def said(*words: str) -> tuple[int, list[str]]:
        code = call([words[0], str(embedded.save()), *words[1:]])
        return code, capsys.readouterr().out.splitlines()

    embedded.write({"a.md": text(1)})
    embedded.run()
    assert said("verify") == (0, ["index: 1 documents, 4 records: in order"])
    rows = SqliteRows(embedded.folder / ".nvisy" / "index.db", "index")
    name = rows.some()["id"]
    rows.delete(name)
    assert said("verify") == (
        7,
        [f"missing {name}  index  a.md  it is not in the index", "index: 1 documents, 3 records: 1 missing"],
    )
    code, lines = said("verify", "--json")
    first, last = map(orjson.loads, lines)
    assert (code, first["kind"], first["id"], first["key"]) == (7, "missing", name, "a.md")
    assert last["clean"] is False
    assert last["sinks"][0]["drift"] == {"missing": 1, "extra": 0, "stale": 0, "damaged": 0}
    code, lines = said("repair")
    assert (code, lines[-1]) == (0, "  1 documents were written again, or taken out")
    code, lines = said("repair", "--json")
    assert (code, orjson.loads(lines[-1])["sinks"][0]["documents"]) == (0, 0)
    assert said("verify")[0] == 0
    assert said("verify", "--sink", "no")[0] == 2


def checked(pipeline: Pipeline) -> CheckedGraph:
    """The graph of a pipeline as it is now."""
    return check(Graph.load(pipeline.save()), Catalog.installed(), pipeline.environ)


def verified(pipeline: Pipeline, **options: Any) -> Report:
    """What `verify` finds."""
    return nvisy.verify(checked(pipeline), settings=pipeline.settings, patience_s=5, **options)


def _listing(pipeline: Pipeline) -> list[tuple[Any, ...]]:
    """Everything in the index that the log decides, without what says who wrote it and when."""
    return sorted(
        (
            hit.id,
            hit.key,
            hit.text,
            hit.span,
            hit.source_uri,
            sorted(hit.metadata.items()),
            hit.lineage["steps"],
        )
        for hit in pipeline.records()
    )


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "qdrant"
    folder.mkdir()
    return folder


def _put_back_position(pipeline: Pipeline) -> None:
    """The stage of the sink has read nothing, as far as the log knows."""
    with closing(apsw.Connection(str(pipeline.folder / ".nvisy" / "log" / "control.db"))) as control:
        control.execute("UPDATE position SET next = 0 WHERE stage = 'index'")


@contextmanager
def _changing(pipeline: Pipeline, numbers: range) -> Iterator[list[int]]:
    """Change some documents again and again, and add and delete one."""
    ended, count = threading.Event(), [0]

    def change() -> None:
        while not ended.is_set():
            n = numbers[count[0] % len(numbers)]
            pipeline.write({f"{n}.md": text(n + 7 * count[0])})
            count[0] += 1
            time.sleep(0.02)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield count
    finally:
        ended.set()
        thread.join()


def _await_index(pipeline: Pipeline, n_keys: int, deadline_s: float = 60.0) -> None:
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        try:
            if len(pipeline.keys()) == n_keys:
                return
        except Exception:  # the index is being made
            pass
        time.sleep(0.2)
    raise AssertionError("the index was not filled")
