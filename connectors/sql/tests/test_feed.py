"""The thread that takes in the stream: bounded, and on speaking terms with the server while nobody reads."""

from __future__ import annotations

import time

import pytest
from nvisy_sql import _feed, _reader

from .database import PATIENCE_S, Database, Follower


@pytest.fixture
def items(database: Database) -> Database:
    """An empty table."""
    database.execute("CREATE TABLE items (id int PRIMARY KEY, body text)")
    return database


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_large_transaction_waits_at_the_server_not_here(items, monkeypatch):
    monkeypatch.setattr(_feed, "MAX_BYTES", 1 << 20)
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute(
            "INSERT INTO items SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 20000) AS n"
        )
        feed = reader._feed
        until(lambda: feed._n_bytes >= _feed.MAX_BYTES)
        highest = 0
        while not follower.reached(items.lsn()):
            highest = max(highest, feed._n_bytes)
            follower.take(reader, limit=1000)
    assert highest <= 1.3 * _feed.MAX_BYTES
    assert len(follower.rows) == 20000


def test_a_batch_of_large_rows_ends_early(items, monkeypatch):
    monkeypatch.setattr(_feed, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(_reader, "BATCH_BYTES", 1 << 18)
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("ALTER TABLE items ALTER body SET STORAGE EXTERNAL")
        items.execute(
            "INSERT INTO items SELECT n, repeat(md5(n::text), 3000) FROM generate_series(1, 100) AS n"
        )
        sizes = []
        while not follower.reached(items.lsn()):
            sizes.append(len(follower.take(reader, limit=1000)))
    assert sum(sizes) == 100
    assert max(sizes) <= 16


def test_the_server_is_answered_while_nobody_reads(items, monkeypatch):
    monkeypatch.setattr(_feed, "MAX_BYTES", 1 << 16)
    replied = "SELECT reply_time::text FROM pg_stat_replication WHERE application_name LIKE %s"
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute(
            "INSERT INTO items SELECT n, repeat(md5(n::text), 30) FROM generate_series(1, 20000) AS n"
        )
        until(lambda: reader._feed._n_bytes >= _feed.MAX_BYTES)
        before = items.execute(replied, f"%{items.slot}%")
        items.until(f"SELECT 1 FROM ({replied}) AS r(at) WHERE at <> %s", f"%{items.slot}%", before[0][0])
        follower.follow(reader, to=items.lsn())
    assert len(follower.rows) == 20000


def test_a_reader_that_goes_on_in_a_large_transaction_repeats_nothing(items):
    source = items.source()
    follower = Follower(source)
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("INSERT INTO items SELECT n, 'b' FROM generate_series(1, 10000) AS n")
        end = items.lsn()
        while len(follower.events) < 4000:
            follower.take(reader, limit=500)
    with follower.reading() as reader:
        follower.follow(reader, to=end)
    assert [event.key for event in follower.events] == [f"public.items/{n}" for n in range(1, 10001)]
