"""Changes as they are committed: every kind of them, in order, from the position on where the last reader stopped."""

from __future__ import annotations

import pytest
from nvisy_sql import _rows

from nvisy.errors import Refused, Unreachable

from .database import Database, Follower

ITEMS = "CREATE TABLE items (id int PRIMARY KEY, title text NOT NULL, body text)"
LARGE = "(SELECT string_agg(md5((%s * 1000 + n)::text), '') FROM generate_series(1, 500) AS n)"


@pytest.fixture
def items(database: Database) -> Database:
    """A table of three rows."""
    database.execute(ITEMS)
    database.execute("INSERT INTO items SELECT n, 'title ' || n, 'body' FROM generate_series(1, 3) AS n")
    return database


def brief(events):
    return [(event.op, event.key) for event in events]


def test_rows_come_first_then_every_kind_of_change_in_the_order_of_commits(items):
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        assert brief(follower.events) == [("upsert", f"public.items/{n}") for n in (1, 2, 3)]
        items.execute("INSERT INTO items VALUES (4, 'four')")
        items.execute("UPDATE items SET title = 'uno' WHERE id = 1")
        items.execute("UPDATE items SET id = 20 WHERE id = 2")
        items.execute("DELETE FROM items WHERE id = 3")
        told = follower.follow(reader, to=items.lsn())
    assert brief(told) == [
        ("upsert", "public.items/4"),
        ("upsert", "public.items/1"),
        ("delete", "public.items/2"),
        ("upsert", "public.items/20"),
        ("delete", "public.items/3"),
    ]
    assert follower.rows == items.rows("public.items")


def test_transactions_come_when_they_commit_and_those_rolled_back_never(items):
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        with items.session() as early, items.session() as late:
            early.execute("UPDATE items SET title = 'early' WHERE id = 1")
            late.execute("UPDATE items SET title = 'late' WHERE id = 2")
            late.execute("SAVEPOINT here; INSERT INTO items VALUES (9, 'gone'); ROLLBACK TO here")
            late.commit()
            early.commit()
            early.execute("DELETE FROM items")
            early.rollback()
        told = follower.follow(reader, to=items.lsn())
    assert brief(told) == [("upsert", "public.items/2"), ("upsert", "public.items/1")]


def test_a_reader_goes_on_after_every_position_inside_a_transaction_too(items):
    source = items.source()
    first = Follower(source)
    with first.reading() as reader:
        first.follow(reader, to=items.lsn())
        start = first.position
        items.execute(
            "BEGIN; INSERT INTO items VALUES (5, 'a'); UPDATE items SET id = 6 WHERE id = 5;"
            " DELETE FROM items WHERE id = 1;"
            "COMMIT; UPDATE items SET title = 'b' WHERE id = 2"
        )
        end = items.lsn()
        positions = []
        while not first.reached(end):
            told = first.take(reader, limit=1)
            positions.append((first.position, len(told)))
    everything = brief(first.events)[3:]
    read = 0
    for position, count in [(start, 0), *positions]:  # from a later one the server goes back no more
        read += count
        rest = Follower(source, position)
        with rest.reading() as reader:
            rest.follow(reader, to=end)
        assert brief(rest.events) == everything[read:], position


def test_the_server_forgets_what_was_confirmed_and_nothing_else(items):
    follower = Follower(items.source())
    confirmed = (
        "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE database = current_database()"
    )
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        before = items.execute(confirmed)
        items.execute("UPDATE items SET title = 'x'")
        follower.follow(reader, to=items.lsn())
        assert items.execute(confirmed) == before
        reader.confirm(follower.position)
        items.until(f"SELECT 1 FROM ({confirmed}) AS c(lsn) WHERE lsn = %s", follower.position["lsn"])


def test_a_quiet_table_in_a_busy_database_moves_on(items):
    items.execute("CREATE TABLE noise (n int)")
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("INSERT INTO noise SELECT generate_series(1, 10000)")
        assert follower.follow(reader, to=items.lsn()) == []


def test_a_large_value_that_an_update_leaves_alone_is_read_by_key(items):
    follower = Follower(items.source())
    items.execute(f"UPDATE items SET body = {LARGE % 1} WHERE id = 1")
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("UPDATE items SET title = 'only this' WHERE id = 1")
        items.execute("UPDATE items SET id = 10 WHERE id = 1")
        told = follower.follow(reader, to=items.lsn())
    assert [event.op for event in told] in (["upsert", "delete", "upsert"], ["delete", "upsert"])
    assert follower.rows == items.rows("public.items")
    assert len(follower.rows["public.items/10"]["body"]) == 16000


def test_a_row_that_is_fetched_is_never_older_than_its_change(items):
    """A commit is streamed a moment before a query sees it; here each change is read at once."""
    follower = Follower(items.source())
    items.execute("ALTER TABLE items ALTER body SET STORAGE EXTERNAL")
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        for n in range(150):
            items.execute(
                f"BEGIN; INSERT INTO items VALUES ({n + 100}, 't', repeat('x', 3000));"
                f" UPDATE items SET title = 'u' WHERE id = {n + 100}; COMMIT"
            )
            items.execute(f"UPDATE items SET id = {n + 1000} WHERE id = {n + 100}")
            items.execute(f"UPDATE items SET title = 'v {n}' WHERE id = {n + 1000}")
            follower.take(reader, limit=1)
        follower.follow(reader, to=items.lsn())
    assert follower.rows == items.rows("public.items")
    titles = [event.item.values["title"] for event in follower.events if event.key == "public.items/1149"]
    assert titles[-1] == "v 149"


def test_a_change_waits_until_its_transaction_is_visible(items, monkeypatch):
    monkeypatch.setattr(_rows, "VISIBLE_S", 0.3)
    with items.session() as session, items.session() as other:
        session.execute("INSERT INTO items VALUES (77, 't', 'b')")
        (xid,) = session.execute("SELECT pg_current_xact_id()::text").fetchone()
        with pytest.raises(Unreachable, match="does not become visible"):
            _rows.wait_visible(other, {int(xid)})
        session.commit()
        _rows.wait_visible(other, {int(xid)})


def test_a_large_value_comes_with_the_old_row_where_the_table_sends_it(items):
    items.execute("ALTER TABLE items REPLICA IDENTITY FULL")
    items.execute(f"UPDATE items SET body = {LARGE % 1} WHERE id = 1")
    follower = Follower(items.source(toast="full"))
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("UPDATE items SET title = 'only this' WHERE id = 1")
        items.execute("UPDATE items SET id = 10 WHERE id = 1")
        items.execute("DELETE FROM items WHERE id = 10")
        told = follower.follow(reader, to=items.lsn())
    assert brief(told) == [
        ("upsert", "public.items/1"),
        ("delete", "public.items/1"),
        ("upsert", "public.items/10"),
        ("delete", "public.items/10"),
    ]
    assert len(told[0].item.values["body"]) == 16000


def test_truncate_empties_what_came_from_that_table_and_no_other(items):
    items.execute("CREATE TABLE other (id int PRIMARY KEY)")
    items.execute("INSERT INTO other VALUES (1)")
    follower = Follower(items.source("items", "other"))
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("TRUNCATE items")
        items.execute("INSERT INTO items VALUES (7, 'after')")
        told = follower.follow(reader, to=items.lsn())
    assert brief(told) == [("clear", "public.items/"), ("upsert", "public.items/7")]
    assert set(follower.rows) == {"public.items/7", "public.other/1"}


def test_truncate_may_be_refused(items):
    follower = Follower(items.source(onTruncate="refuse"))
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        items.execute("TRUNCATE items")
        with pytest.raises(Refused, match=r'table public\.items was truncated.*"onTruncate"'):
            follower.follow(reader, to=items.lsn())


def test_keys_of_several_columns_and_of_any_text(database):
    database.execute("CREATE TABLE pairs (a text, b int, PRIMARY KEY (a, b))")
    database.execute("INSERT INTO pairs VALUES ('x,1', 2), ('x', 12), ('100%', 1), ('', 1)")
    follower = Follower(database.source("pairs"))
    with follower.reading() as reader:
        follower.follow(reader, to=database.lsn())
        database.execute("UPDATE pairs SET b = 3 WHERE a = 'x,1'")
        follower.follow(reader, to=database.lsn())
    assert set(follower.rows) == {
        "public.pairs/x%2C1,3",
        "public.pairs/x,12",
        "public.pairs/100%25,1",
        "public.pairs/,1",
    }


def test_a_unique_index_may_name_the_rows_of_a_table(database):
    database.execute("CREATE TABLE named (id serial, name text NOT NULL UNIQUE, body text)")
    database.execute("ALTER TABLE named REPLICA IDENTITY USING INDEX named_name_key")
    database.execute("INSERT INTO named (name) VALUES ('a'), ('b')")
    follower = Follower(database.source("named"))
    with follower.reading() as reader:
        follower.follow(reader, to=database.lsn())
        database.execute("DELETE FROM named WHERE name = 'a'; UPDATE named SET name = 'c' WHERE name = 'b'")
        follower.follow(reader, to=database.lsn())
    assert set(follower.rows) == {"public.named/c"}


def test_a_partitioned_table_is_one_table(database):
    database.execute("CREATE TABLE parts (id int PRIMARY KEY, body text) PARTITION BY RANGE (id)")
    database.execute("CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (100)")
    database.execute("CREATE TABLE high PARTITION OF parts FOR VALUES FROM (100) TO (200)")
    database.execute("INSERT INTO parts SELECT n, 'b' FROM generate_series(50, 149) AS n")
    follower = Follower(database.source("parts"))
    with follower.reading() as reader:
        follower.follow(reader, to=database.lsn())
        database.execute("UPDATE parts SET id = 160 WHERE id = 60; DELETE FROM parts WHERE id = 149")
        database.execute("CREATE TABLE higher PARTITION OF parts FOR VALUES FROM (200) TO (300)")
        database.execute("INSERT INTO parts VALUES (250, 'in a new partition')")
        follower.follow(reader, to=database.lsn())
    assert follower.rows == database.rows("public.parts")


def test_only_the_columns_and_rows_that_the_graph_asks_for(items):
    wanted = {"table": "items", "columns": ["id", "title"], "where": "id < 10"}
    follower = Follower(items.source(wanted))
    items.execute("INSERT INTO items VALUES (11, 'out')")
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        assert follower.rows["public.items/1"] == {"id": 1, "title": "title 1"}
        items.execute(
            "UPDATE items SET id = 12 WHERE id = 2; INSERT INTO items VALUES (4, 'in', 'b'), (14, 'out', 'b')"
        )
        follower.follow(reader, to=items.lsn())
    assert set(follower.rows) == {f"public.items/{n}" for n in (1, 3, 4)}


def test_a_run_that_is_not_followed_ends_with_what_there_was(items):
    items.execute("UPDATE items SET title = 'x' WHERE id = 1")
    follower = Follower(items.source(follow=False))
    with follower.reading() as reader:
        while not follower.ended:
            follower.take(reader)
        items.execute("INSERT INTO items VALUES (9, 'too late for this run')")
        assert reader.read(100, 0.01).events == ()
    assert set(follower.rows) == {f"public.items/{n}" for n in (1, 2, 3)}
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
    assert follower.rows == items.rows("public.items")


def test_a_table_that_is_named_later_is_read_from_its_beginning(items):
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
    items.execute("CREATE TABLE more (id int PRIMARY KEY); INSERT INTO more VALUES (1), (2)")
    items.execute("UPDATE items SET title = 'x' WHERE id = 1")
    later = Follower(items.source("items", "more"), follower.position)
    with later.reading() as reader:
        later.follow(reader, to=items.lsn())
        items.execute("INSERT INTO more VALUES (3)")
        later.follow(reader, to=items.lsn())
    assert sorted(brief(later.events)) == sorted(
        [("upsert", f"public.more/{n}") for n in (1, 2, 3)] + [("upsert", "public.items/1")]
    )
