"""From tables to an index: what the tables hold is what is found, whatever dies on the way."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import pytest

from nvisy.fault_points import Point
from nvisy.runtime.supervisor import StageFailed
from tests.faults.orders import Orders, Place

from .database import PATIENCE_S, Database
from .tables import Tables, Workload, fill

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def tables(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    unique_name: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> Tables:
    """A pipeline over two tables with rows in them."""
    log_url = request.getfixturevalue("kafka_url") if request.param == "kafka" else None
    fill(database, 400)
    monkeypatch.setenv("PG_DSN", database.dsn)
    return Tables(tmp_path, unique_name, log_url, database)


@pytest.fixture
def embedded(tmp_path: Path, unique_name: str, database: Database) -> Tables:
    """The same on the embedded log."""
    fill(database, 3000)
    return Tables(tmp_path, unique_name, None, database)


def test_the_index_follows_the_tables(tables):
    with tables.following() as process, closing(Workload(tables.database, 1)) as workload:
        tables.settled(process)
        workload.work(200)
        tables.settled(process)
        tables.database.execute("TRUNCATE notes; INSERT INTO notes VALUES ('after', 1, 'the truncate')")
        tables.settled(process)


def test_a_run_that_is_not_followed_ends_and_the_next_goes_on(tables):
    first = tables.run()
    assert first.state == "completed"
    assert tables.found() == tables.wanted()
    with closing(Workload(tables.database, 2)) as workload:
        workload.work(50)
    tables.run()
    assert tables.found() == tables.wanted()
    again = tables.run()
    assert (again.written, again.removed, again.model_calls) == (0, 0, 0)


def test_a_run_over_empty_tables_is_remembered(embedded, monkeypatch):
    monkeypatch.setenv("PG_DSN", embedded.database.dsn)
    embedded.database.execute("TRUNCATE articles, notes")
    embedded.run()
    embedded.database.execute("INSERT INTO articles SELECT n, 't' FROM generate_series(1, 10) AS n")
    assert embedded.run().nodes["rows"]["in"] == 10
    assert embedded.found() == embedded.wanted()


def test_an_update_that_changes_no_text_asks_no_model(embedded, monkeypatch):
    monkeypatch.setenv("PG_DSN", embedded.database.dsn)
    embedded.graph["nodes"][2]["params"] = {"model": "local/wordllama"}
    assert embedded.run().model_calls > 0
    embedded.database.execute("ALTER TABLE articles ADD COLUMN views int")
    embedded.database.execute("UPDATE articles SET views = id")
    assert embedded.run().model_calls == 0


def test_after_a_gap_the_run_stops_and_an_adopting_one_applies_what_was_missed(tables):
    tables.run()
    database = tables.database
    database.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s",
        database.slot,
    )
    database.execute(
        "DELETE FROM articles WHERE id % 3 = 0; UPDATE articles SET title = 'missed' WHERE id % 3 = 1"
    )
    with pytest.raises(StageFailed, match=r"gap: .*it is gone.*--adopt") as caught:
        tables.run()
    assert caught.value.exit_code == 6
    assert tables.run(adopt=True).state == "completed"
    assert tables.found() == tables.wanted()
    database.execute("DELETE FROM notes WHERE n = 5")
    tables.run()
    assert tables.found() == tables.wanted()


POINTS = [
    (Point.SLOT_MADE, 1),
    (Point.FIRST_READ, 2),
    (Point.FIRST_READ, 6),
    (Point.HANDED_OVER, 1),
    (Point.STREAMED, 1),
    (Point.STREAMED, 3),
    (Point.CONFIRM, 1),
    (Point.APPENDED, 2),
    (Point.COMMITTED, 3),
]


@pytest.mark.parametrize(("point", "nth"), POINTS, ids=lambda value: getattr(value, "name", value))
def test_a_reader_that_is_killed_anywhere_loses_nothing(embedded, point, nth):
    orders = Orders(embedded.folder / "orders")
    embedded.environ |= orders.environ
    orders.give(Place("rows", point), "kill", run=0, nth=nth)
    with embedded.following() as process, closing(Workload(embedded.database, nth)) as workload:
        until = time.monotonic() + PATIENCE_S
        while orders.taken is None:
            workload.work(5)
            assert process.poll() is None, embedded.said.read_text()
            assert time.monotonic() < until, f"{point.name} was not reached {nth} times"
            time.sleep(0.05)
        workload.work(20)
        embedded.settled(process)
