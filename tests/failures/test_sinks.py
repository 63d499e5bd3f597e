"""Failures of the index: what is deleted, what is remembered, who may write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from nvisy_vector._sqlite_file import transaction
from nvisy_vector._sqlite_writer import SqliteWriter
from nvisy_vector.qdrant import QdrantParams, QdrantSink
from nvisy_vector.sqlite import SqliteSink
from qdrant_client import QdrantClient, models

from connectors.vector.tests.qdrant_double import QdrantDouble
from nvisy.connector.sink import Outcome
from nvisy.errors import Refused
from nvisy.primitives.provenance import OFFSET_BITS, Version
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.dead_letters import as_open, entry_key
from nvisy.runtime.flight import Flight, Replay, replayed_at
from nvisy.runtime.records import lane_of, record_set
from nvisy.runtime.seating import seat_config, take_seat
from nvisy.runtime.sinks import OpenSink
from nvisy.runtime.stamps import Stamping
from nvisy.testing.records import LANE, OWNER, make_set
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Append, Seat
from tests.failures.parts import (
    AT,
    BROKEN,
    FILES,
    INDEX,
    LINE,
    OTHER,
    WAYS,
    WRITER,
    change,
    flight,
    held,
    index_in,
    plan_of,
)

SEVEN = [f"passage {number}" for number in range(7)]


@pytest.fixture
def sink(tmp_path: Path) -> SqliteSink:
    return index_in(tmp_path)


@pytest.fixture
def writer(sink: SqliteSink) -> Iterator[SqliteWriter]:
    with closing(sink.open(1)) as writer:
        assert isinstance(writer, SqliteWriter)
        yield writer


def test_failure_06_an_edit_deletes_what_it_replaced_and_nothing_else(
    sink: SqliteSink, writer: SqliteWriter
) -> None:
    edited = [*SEVEN[:3], "another", *SEVEN[4:]]
    writer.apply([make_set("K", SEVEN, offset=1)])
    assert writer.apply([make_set("K", edited, offset=2)]) == [Outcome(written=1, removed=1, unchanged=6)]
    assert held(sink) == edited
    assert writer.apply([make_set("K", edited[:6], offset=7)]) == [Outcome(removed=1, unchanged=6)]
    assert writer.apply([make_set("K", SEVEN, offset=5)])[
        0
    ].superseded  # no record carries the 7, the head does
    assert held(sink) == edited[:6]


def test_failure_07_a_zombie_that_was_about_to_delete_is_refused(
    sink: SqliteSink, writer: SqliteWriter
) -> None:
    six, seven, eight = (
        make_set("K", texts, offset=offset)
        for texts, offset in ((["X", "Y"], 6), (["Y"], 7), (["X", "Y"], 8))
    )
    writer.apply([six])
    with closing(sink.open(2)) as owner:
        owner.apply([seven])
        owner.apply([eight])
        with pytest.raises(Refused):
            writer.apply([seven])
    assert held(sink) == ["X", "Y"]


@pytest.mark.parametrize("op", ["upsert", "delete"])
def test_failure_08_what_was_deleted_is_not_brought_back_by_an_older_version(
    sink: SqliteSink, writer: SqliteWriter, op: str
) -> None:
    """Version 5 failed, 6 is empty or a delete, 5 is tried again: neither the book nor the head lets it pass."""
    book, five = DeadLetterBook("g", "embed", 1, {}), flight(5, "K", "five")
    failed = book.failed("index", five.failed(BROKEN))
    six = change("K", version=6, op=op)
    assert book.passed("index", replace(five, change=six)) is not None
    writer.apply([record_set(six, LANE, "index")])
    replay = Replay(entry_key("embed", "index", five), as_open(failed).entry, five.ticket, 3, "")
    assert book.due("index", [Flight(five.change, replayed_at(FILES, 0), b"raw", None, replay)]) == []
    assert writer.apply([make_set("K", ["five"], offset=5)])[0].superseded
    assert held(sink) == []


def test_failure_09_the_half_of_a_version_that_was_compacted_away_goes(
    sink: SqliteSink, writer: SqliteWriter, tmp_path: Path
) -> None:
    """The head says 4, some records of 5 are there, 5 itself is gone from the log: 6 removes them."""
    database = apsw.Connection(str(tmp_path / "index.db"))
    writer.apply([make_set("K", ["one"], offset=4)])
    (name,) = database.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%heads'").fetchone()
    (head,) = database.execute(f"SELECT * FROM {name}").fetchall()
    writer.apply([make_set("K", ["one", "half"], offset=5)])
    database.execute(f"INSERT OR REPLACE INTO {name} VALUES (?, ?, ?, ?, ?, ?, ?, ?)", head)
    database.close()
    assert writer.head(LANE, "K") == head[3]
    writer.apply([make_set("K", ["two"], offset=6)])
    assert held(sink) == ["two"]


def test_failure_09_nor_is_there_a_half_in_a_store_with_transactions(
    sink: SqliteSink, writer: SqliteWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.apply([make_set("K", ["one"], offset=4)])
    monkeypatch.setattr(writer, "_put_head", "no SQL")
    with pytest.raises(Exception, match="no"):
        writer.apply([make_set("K", ["one", "half"], offset=5)])
    assert held(sink) == ["one"]


def test_failure_15_a_collection_that_was_dropped_is_filled_from_the_beginning_of_its_input(
    tmp_path: Path, sink: SqliteSink
) -> None:
    stage = plan_of(LINE, *WAYS).stage("index")

    def seated() -> tuple[int, int]:
        """Position of the sink's stage when it has taken its seat, and when it has written what is there."""
        with closing(EmbeddedLog(tmp_path / "log")) as log:
            collection, writer = sink.prepare(OWNER), sink.open(1)
            opened = OpenSink("index", None, writer, collection, Stamping("g", "index", 0, writer))  # type: ignore[arg-type]
            seat = Seat("g", "index", seat_config(stage, [opened.collection], 0), inputs=(FILES,), outputs=())
            session, _ = take_seat(log, seat, adopt=False)
            before = session.positions()[AT]
            writer.apply([make_set("K", ["one"])])
            session.commit({AT: 1})
            after = session.positions()[AT]
            session.close()
            writer.close()
            return before, after

    with closing(EmbeddedLog(tmp_path / "log")) as log:
        log.create(FILES, 1)
        with closing(log.session(WRITER)) as session:
            session.append([Append(FILES, 0, b"files/K", b"1")])
            session.commit({})
    assert seated() == (0, 1)
    assert seated() == (1, 1)
    database = apsw.Connection(str(tmp_path / "index.db"))
    ((physical,),) = database.execute("SELECT physical FROM nvisy_collections").fetchall()
    database.execute(f'DROP VIEW docs; DROP TABLE "{physical}"')
    database.close()
    assert seated() == (0, 1)
    assert held(sink) == ["one"]


def test_failure_19_a_name_that_applications_use_leads_to_a_collection_and_is_not_written_through(
    sink: SqliteSink, writer: SqliteWriter, tmp_path: Path
) -> None:
    database = apsw.Connection(str(tmp_path / "index.db"))
    kinds = dict(database.execute("SELECT name, type FROM sqlite_schema WHERE name LIKE 'docs%'"))
    assert kinds["docs"] == "view"
    writer.apply([make_set("K", ["one"], offset=1)])
    database.execute("DROP VIEW docs; CREATE VIEW docs AS SELECT 'elsewhere' AS text")
    writer.apply([make_set("K", ["two"], offset=2)])
    assert database.execute("SELECT text FROM docs__1").fetchall() == [("two",)]
    with closing(sink.index()) as index:
        assert (index.model, index.dimensions) == (OWNER.model, OWNER.dimensions)
    database.close()


@pytest.mark.parametrize("other", [{"graph": "copy"}, {"log": "log of another machine"}])
def test_failure_21_another_graph_or_another_log_does_not_get_the_collection(
    sink: SqliteSink, other: dict[str, str]
) -> None:
    with pytest.raises(Refused):
        sink.prepare(replace(OWNER, **other))


def test_failure_21_ids_of_two_graphs_and_of_two_sinks_are_never_the_same() -> None:
    lanes = [lane_of("g", "index", "files"), lane_of("h", "index", "files"), lane_of("g", "other", "files")]
    assert len({make_set("K", ["one"], lane=lane).records[0].id for lane in lanes}) == len(lanes)


def test_failure_22_an_index_is_searched_while_it_is_written_and_two_sinks_share_a_file(
    sink: SqliteSink, writer: SqliteWriter, tmp_path: Path
) -> None:
    with closing(index_in(tmp_path, "more").open(1)) as other:
        other.apply([make_set("L", ["other"])])
        with transaction(writer._connection):  # it is in the middle of a batch
            assert held(sink) == []
        writer.apply([make_set("K", ["one"])])
    assert held(sink) == ["one"]
    assert plan_of({**LINE, "index": INDEX, "other": OTHER}, *WAYS, "embed>other").stages, (
        "and so they may stand in one graph"
    )


def test_failure_23_the_number_of_a_version_is_exact_as_a_float() -> None:
    highest = [(1 << 17) - 1, (1 << OFFSET_BITS) - 1]
    numbers = [
        Version(inc, off).number for inc in (1, highest[0]) for off in (0, 1, highest[1] - 1, highest[1])
    ]
    assert max(numbers) < 1 << 53
    assert [int(float(number)) for number in numbers] == numbers == sorted(set(numbers))


def test_failure_30_qdrant_is_told_to_index_what_is_filtered_by_to_wait_and_to_keep_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[dict[str, Any]] = []
    indexed: set[str] = set()
    write, index = QdrantClient.batch_update_points, QdrantClient.create_payload_index

    def noted(client: QdrantClient, *args: Any, **options: Any) -> Any:
        writes.append(options)
        return write(client, *args, **options)

    def noted_index(client: QdrantClient, name: str, field: str, *args: Any, **options: Any) -> Any:
        indexed.add(field)
        return index(client, name, field, *args, **options)

    monkeypatch.setattr(QdrantClient, "batch_update_points", noted)
    monkeypatch.setattr(QdrantClient, "create_payload_index", noted_index)
    with closing(QdrantDouble(tmp_path)) as qdrant:
        sink = QdrantSink(QdrantParams(url=qdrant.url, collection="docs"))
        sink.prepare(OWNER)
        with closing(sink.open(1)) as writer:
            writer.apply([make_set("K", ["one", "two"], offset=1)])
            writer.apply([make_set("K", ["two"], offset=2)])
    assert {"lane", "key", "version"} <= indexed
    assert len(writes) >= 4
    assert all(one == {"wait": True, "ordering": models.WriteOrdering.STRONG} for one in writes)
