"""The first reading: everything that was there when the slot was made, side by side, resumable, and without a seam."""

from __future__ import annotations

import threading

import pytest
from nvisy_sql import _rows, _snapshot

from nvisy.errors import Unreachable

from .database import Database, Follower


@pytest.fixture
def many(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A table of 5,000 rows, read in several lanes and short pages."""
    monkeypatch.setattr(_snapshot, "WORTH_SPLITTING", 1000)
    monkeypatch.setattr(_rows.PageSize, "MOST_ROWS", 100)
    database.execute("CREATE TABLE many (id bigint PRIMARY KEY, body text)")
    database.execute("INSERT INTO many SELECT n * 7, 'body ' || n FROM generate_series(1, 5000) AS n")
    database.execute("ANALYZE many")
    return database


def test_a_table_is_read_in_lanes_each_row_once(many):
    follower = Follower(many.source("many", workers=3))
    with follower.reading() as reader:
        follower.take(reader)
        assert len(follower.position["tables"]["public.many"]["lanes"]) == 3
        follower.follow(reader, to=many.lsn())
    assert len(follower.events) == 5000
    assert follower.rows == many.rows("public.many")


def test_it_goes_on_where_it_stopped_and_repeats_nothing(many):
    follower = Follower(many.source("many"))
    while not follower.reached(many.lsn()):
        with follower.reading() as reader:
            for _ in range(20):
                follower.take(reader)
    assert len(follower.events) == 5000
    assert follower.rows == many.rows("public.many")


def test_what_happens_meanwhile_is_told_afterwards(many):
    follower = Follower(many.source("many"))
    written = threading.Event()

    def write() -> None:
        with many.session() as session:
            for n in range(1, 200):
                session.execute("UPDATE many SET body = 'new' WHERE id = %s", (n * 70,))
                session.execute("DELETE FROM many WHERE id = %s", (n * 140 + 7,))
                session.execute("UPDATE many SET id = -id WHERE id = %s", (n * 140 + 14,))
                session.execute("INSERT INTO many VALUES (%s, 'inserted')", (n * 7 + 1,))
                session.commit()
        written.set()

    thread = threading.Thread(target=write)
    with follower.reading() as reader:
        follower.take(reader)
        thread.start()
        while not written.is_set():
            follower.take(reader)
        thread.join()
        follower.follow(reader, to=many.lsn())
    assert follower.rows == many.rows("public.many")


def test_changes_between_two_readers_of_the_first_reading_are_not_lost(many):
    follower = Follower(many.source("many"))
    round_ = 0
    while not follower.reached(many.lsn()) or round_ < 8:
        with follower.reading() as reader:
            for _ in range(10):
                follower.take(reader)
        round_ += 1
        if round_ < 8:
            many.execute(f"DELETE FROM many WHERE id % 1001 = {round_ * 7}")
            many.execute(f"UPDATE many SET id = id + 100000, body = 'moved' WHERE id % 997 = {round_}")
            many.execute("INSERT INTO many VALUES (%s, 'back')", -round_)
    assert follower.rows == many.rows("public.many")


def test_the_first_reading_is_complete_when_its_last_row_was_told(many):
    follower = Follower(many.source("many"))
    with follower.reading() as reader:
        while not follower.complete:
            follower.take(reader)
            assert follower.complete == (len(follower.events) == 5000)
    resumed = Follower(many.source("many"), follower.position)
    with resumed.reading() as reader:
        resumed.take(reader)
    assert resumed.complete
    assert resumed.events == []


def test_a_slot_that_was_made_and_never_read_is_taken_up(many):
    source = many.source("many")
    source.open(None).close()
    many.execute("DELETE FROM many WHERE id < 1000")
    follower = Follower(source)
    with follower.reading() as reader:
        follower.follow(reader, to=many.lsn())
    assert follower.rows == many.rows("public.many")


def test_a_later_reading_waits_for_what_the_first_would_have_seen(many, monkeypatch):
    monkeypatch.setattr(_snapshot, "PATIENCE_S", 0.5)
    source = many.source("many")
    source.open(None).close()
    with many.session() as session:
        session.execute("INSERT INTO many VALUES (1, 'uncommitted')")
        with pytest.raises(Unreachable, match="waits for transaction"):
            source.open(None)
        session.commit()
    follower = Follower(source)
    with follower.reading() as reader:
        follower.follow(reader, to=many.lsn())
    assert follower.rows == many.rows("public.many")


def test_large_rows_come_in_small_pages(database, monkeypatch):
    monkeypatch.setattr(_rows.PageSize, "PAGE_BYTES", 100_000)
    database.execute("CREATE TABLE large (id int PRIMARY KEY, body text)")
    database.execute("INSERT INTO large SELECT n, repeat('x', 20000) FROM generate_series(1, 120) AS n")
    follower = Follower(database.source("large"))
    with follower.reading() as reader:
        sizes = []
        while not follower.reached(database.lsn()):
            sizes.append(len(follower.take(reader)))
    assert sum(sizes) == 120
    pages = [size for size in sizes if size]
    assert max(pages[1:]) <= 5, "how large rows are is known from the first page on"


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("text", ["a", "B", "ä", "", "x,y", "%"]),
        ("uuid", ["6b3c7f1e-0000-4000-8000-000000000001", "f0000000-0000-4000-8000-000000000001"]),
        ("char(3)", ["abc", "de", "f"]),
        ("numeric", ["1.50", "-3", "100000000000000000000.1"]),
        ("timestamptz", ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+02"]),
        ("date", ["2026-01-01", "infinity"]),
        ("bytea", ["\\x00", "\\xff"]),
    ],
)
def test_keys_of_every_type_are_paged_through(database, monkeypatch, kind, values):
    monkeypatch.setattr(_rows.PageSize, "MOST_ROWS", 1)
    monkeypatch.setattr(_rows.PageSize, "FIRST_ROWS", 1)
    database.execute(f"CREATE TABLE keyed (k {kind} PRIMARY KEY, n int)")
    for n, value in enumerate(values):
        database.execute("INSERT INTO keyed VALUES (%s, %s)", value, n)
    source = database.source("keyed")
    follower = Follower(source)
    while not follower.reached(database.lsn()):
        with follower.reading() as reader:
            follower.take(reader)
            follower.take(reader)
    assert follower.rows == database.rows("public.keyed")
    assert len(follower.events) == len(values)
    with follower.reading() as reader:
        database.execute("UPDATE keyed SET n = -1")
        database.execute("DELETE FROM keyed WHERE k = %s", values[0])
        follower.follow(reader, to=database.lsn())
    assert follower.rows == database.rows("public.keyed")
