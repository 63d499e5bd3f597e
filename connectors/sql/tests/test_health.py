"""What can happen to a slot, a server and a user: detected, and said with what to do. Nothing is skipped over."""

from __future__ import annotations

import json
import time
from contextlib import closing

import psycopg
import pytest

from nvisy.errors import Fatal, NvisyError, Refused, Unreachable

from .database import PATIENCE_S, Database, Follower


@pytest.fixture
def items(database: Database) -> Database:
    """A small table."""
    database.execute("CREATE TABLE items (id int PRIMARY KEY, title text NOT NULL)")
    database.execute("INSERT INTO items VALUES (1, 'one')")
    return database


def read_up(database: Database, source=None) -> Follower:
    follower = Follower(source or database.source())
    with follower.reading() as reader:
        follower.follow(reader, to=database.lsn())
    return follower


def fails(follower: Follower, error: type[NvisyError], match: str) -> None:
    """The stream, open or opened again, ends with this."""
    deadline = time.monotonic() + PATIENCE_S
    with pytest.raises(error, match=match), follower.reading() as reader:  # noqa: PT012 - whichever read it is
        while time.monotonic() < deadline:
            follower.take(reader)


def free_slot(database: Database, name: str) -> None:
    database.until("SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active_pid IS NULL", name)


def slot_of(database: Database) -> str:
    return database.execute("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()")[
        0
    ][0]


def test_a_slot_that_was_dropped_is_a_gap(items):
    follower = read_up(items)
    name = slot_of(items)
    free_slot(items, name)
    items.execute("SELECT pg_drop_replication_slot(%s)", name)
    fails(follower, Refused, "gap: .*it is gone.*docs/cdc.md")


def test_a_slot_that_was_made_anew_is_a_gap(items):
    follower = read_up(items)
    name = slot_of(items)
    free_slot(items, name)
    items.execute("SELECT pg_drop_replication_slot(%s)", name)
    items.execute("UPDATE items SET title = 'missed'")
    items.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", name)
    fails(follower, Refused, "gap: .*it was made anew")


def test_a_slot_that_somebody_else_read_is_a_gap(items):
    follower = read_up(items)
    name = slot_of(items)
    free_slot(items, name)
    items.execute("UPDATE items SET title = 'missed'")
    items.execute("SELECT pg_replication_slot_advance(%s, pg_current_wal_lsn())", name)
    fails(follower, Refused, "gap: .*somebody else has read it")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("system", "123", "another database cluster"),
        ("timeline", 7, "it failed over, or was restored"),
        ("lsn", "FF/0", "an older copy of it was restored"),
        ("slot", "other", "so far other was read"),
    ],
)
def test_another_history_than_before_is_a_gap(items, field, value, said):
    follower = read_up(items)
    follower.position = {**follower.position, field: value}
    fails(follower, Refused, f"gap: .*{said}")


def test_a_table_that_was_made_anew_is_a_gap(items):
    follower = read_up(items)
    items.execute("DROP TABLE items; CREATE TABLE items (id int PRIMARY KEY, title text)")
    fails(follower, Refused, "gap: .*table public.items was dropped and made anew")


def test_after_a_gap_a_reading_from_the_beginning_makes_a_slot_again(items):
    read_up(items)
    name = slot_of(items)
    free_slot(items, name)
    items.execute("SELECT pg_drop_replication_slot(%s)", name)
    items.execute("UPDATE items SET title = 'new'")
    follower = read_up(items)
    assert follower.rows == items.rows("public.items")


def test_a_second_reader_is_refused_while_the_first_goes_on(items, monkeypatch):
    monkeypatch.setattr("nvisy_sql._slot.HELD_S", 0.5)
    follower = Follower(items.source())
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
        position = follower.position
        with pytest.raises(Refused, match=r"is read by another process, server process \d+"):
            items.source().open(position)
        items.execute("INSERT INTO items VALUES (2, 'two')")
        follower.follow(reader, to=items.lsn())
    assert follower.rows == items.rows("public.items")


def test_a_connection_that_is_cut_is_said_and_loses_nothing(items):
    follower = Follower(items.source())
    with pytest.raises(Unreachable, match="replication stream"), follower.reading() as reader:  # noqa: PT012
        follower.follow(reader, to=items.lsn())
        items.execute("INSERT INTO items VALUES (2, 'two')")
        items.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
            slot_of(items),
        )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            follower.take(reader)
    with follower.reading() as reader:
        follower.follow(reader, to=items.lsn())
    assert follower.rows == items.rows("public.items")


def test_a_server_that_restarts_is_waited_for_and_loses_nothing(own_postgres):
    database = Database(own_postgres.create_database())
    database.execute("CREATE TABLE items (id int PRIMARY KEY, title text)")
    follower = Follower(database.source())
    with follower.reading() as reader:
        follower.follow(reader, to=database.lsn())
        database.execute("INSERT INTO items VALUES (2, 'two')")
        own_postgres.kill()
        database.disconnect()
        with pytest.raises(Unreachable):  # noqa: PT012 - whichever read it is
            while True:
                follower.take(reader)
    with pytest.raises(Unreachable, match="cannot be reached"):
        database.source().check()
    own_postgres.start()
    with closing(Database(database.dsn)) as database:
        with follower.reading() as reader:
            follower.follow(reader, to=database.lsn())
        assert follower.rows == database.rows("public.items")


def test_a_slot_that_the_server_gave_up_is_a_gap_at_once(own_postgres):
    with closing(Database(own_postgres.create_database())) as database:
        database.execute("CREATE TABLE items (id int PRIMARY KEY, title text); CREATE TABLE noise (t text)")
        follower = read_up(database)
        name = slot_of(database)
        free_slot(database, name)
        database.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        database.execute("SELECT pg_reload_conf()")
        lost = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND wal_status = 'lost'"
        while not database.execute(lost, name):
            database.execute("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
            database.execute("SELECT pg_switch_wal()")
            database.execute("CHECKPOINT")
        began = time.monotonic()
        fails(follower, Refused, "gap: .*max_slot_wal_keep_size")
        assert time.monotonic() - began < PATIENCE_S
        database.execute("INSERT INTO items VALUES (5, 'five')")
        assert read_up(database).rows == database.rows("public.items")


def test_a_slot_that_is_lost_while_it_is_read_is_a_gap(items):
    follower = Follower(items.source())
    with pytest.raises(Refused, match=r"gap: .*it is gone"), follower.reading() as reader:  # noqa: PT012
        follower.follow(reader, to=items.lsn())
        name = slot_of(items)
        items.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s", name
        )
        free_slot(items, name)
        items.execute("SELECT pg_drop_replication_slot(%s)", name)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            follower.take(reader)


def test_a_position_is_json(items):
    position = read_up(items).position
    assert json.loads(json.dumps(position)) == position


class TestBeforeAnythingRuns:
    """What `check` and `open` say of a database that is not set up for this."""

    @pytest.mark.parametrize(
        ("setup", "said"),
        [
            ("SELECT 1", r"there is no table public\.missing"),
            ("CREATE TABLE missing (a int)", "has no primary key"),
            (
                "CREATE TABLE missing (a int PRIMARY KEY); ALTER TABLE missing REPLICA IDENTITY NOTHING",
                "REPLICA IDENTITY NOTHING.*REPLICA IDENTITY DEFAULT",
            ),
        ],
    )
    def test_a_table_that_cannot_be_read(self, database, setup, said):
        database.execute(setup)
        with pytest.raises(Fatal, match=said):
            database.source("missing").check()

    def test_a_table_that_does_not_send_old_rows_where_they_are_wanted(self, items):
        with pytest.raises(Fatal, match="REPLICA IDENTITY FULL"):
            items.source(toast="full").check()

    def test_looking_makes_neither_slot_nor_publication(self, items):
        items.source().check()
        assert items.execute("SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []
        assert items.execute("SELECT 1 FROM pg_publication") == []

    @pytest.mark.parametrize(
        ("publication", "said"),
        [
            (
                "FOR TABLE items WITH (publish = 'insert')",
                "SET \\(publish = 'insert, update, delete, truncate'\\)",
            ),
            ("FOR TABLE items", "publish_via_partition_root = true"),
            (
                "FOR TABLE items (title) WITH (publish_via_partition_root = true)",
                "leaves out id, a key column",
            ),
        ],
    )
    def test_a_publication_of_another_kind_is_refused_with_what_mends_it(self, items, publication, said):
        items.execute(f"CREATE PUBLICATION theirs {publication}")
        with pytest.raises(Fatal, match=said):
            items.source(publication="theirs").open(None)

    def test_a_publication_of_somebody_else_needs_no_right_to_make_one(self, items):
        items.execute("CREATE PUBLICATION theirs FOR ALL TABLES WITH (publish_via_partition_root = true)")
        name = f"reader_{items.slot}"
        items.execute(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD 'a-password'")
        try:
            items.execute(f"GRANT SELECT ON items TO {name}")
            dsn = psycopg.conninfo.make_conninfo(items.dsn, user=name, password="a-password")
            follower = read_up(items, items.source(dsn=dsn, publication="theirs"))
            assert follower.rows == items.rows("public.items")
            with pytest.raises(Fatal, match=r"may not make it.*CREATE PUBLICATION"):
                items.source(dsn=dsn, publication="ours", slot=f"{items.slot}_2").open(None)
        finally:
            items.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")

    def test_a_slot_of_another_kind_is_refused(self, items):
        name = f"{items.slot}_physical"
        items.execute("SELECT pg_create_physical_replication_slot(%s)", name)
        try:
            with pytest.raises(Fatal, match="physical replication"):
                items.source(slot=name).check()
        finally:
            items.execute("SELECT pg_drop_replication_slot(%s)", name)

    def test_a_wrong_password_is_not_shown(self, items):
        dsn = psycopg.conninfo.make_conninfo(items.dsn, password="wrong-and-secret")
        with pytest.raises(Fatal, match="refuses these credentials") as caught:
            items.source(dsn=dsn).check()
        assert "wrong-and-secret" not in str(caught.value)

    def test_a_server_that_is_not_there(self, items):
        with pytest.raises(Unreachable, match="cannot be reached"):
            items.source(dsn="postgresql://localhost:1/none").check()


def test_health_says_what_a_slot_makes_the_server_keep(items):
    source = items.source()
    assert source.health() == {"slot": source.health()["slot"], "state": "missing"}
    read_up(items, source)
    name = slot_of(items)
    free_slot(items, name)
    before = source.health()
    assert before["slot"] == name
    assert before["state"] == "waiting"
    assert before["wal_status"] == "reserved"
    items.execute("INSERT INTO items SELECT n, repeat('x', 1000) FROM generate_series(10, 1000) AS n")
    after = source.health()
    assert after["kept_wal_bytes"] >= before["kept_wal_bytes"] + 900_000
    assert after["behind_bytes"] >= before["behind_bytes"] + 900_000


def test_a_source_that_is_read_again_and_again_by_a_query_keeps_nothing_on_the_server(items):
    assert items.source(mode="query", cursor="id").health() == {}
