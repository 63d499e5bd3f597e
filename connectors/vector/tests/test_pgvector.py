"""`vector/pgvector` keeps a sink's promises on a real Postgres, and has its own errors in words."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from dataclasses import replace
from threading import Thread
from urllib.parse import urlsplit

import numpy as np
import psycopg
import pytest
from nvisy_vector import _pg_sweep, _pg_writer
from nvisy_vector._pg_database import translated
from nvisy_vector.pgvector import DESCRIPTOR, PgvectorParams, PgvectorSink

from nvisy.errors import Fatal, Refused, Transient, Unreachable
from nvisy.expressions.filter import parse_filter
from nvisy.testing.records import LANE, OWNER, make_set, vector_of, version
from nvisy.testing.sink_conformance import GenerationConformance, read, search, texts, write_many

pytestmark = pytest.mark.postgres

HNSW = "SELECT indexname::text FROM pg_indexes WHERE indexdef LIKE '%hnsw%'"

USERS_TABLE = """CREATE EXTENSION IF NOT EXISTS vector; CREATE TABLE docs (mine text, id uuid PRIMARY KEY,
  embedding vector({}), text text, key text, source_uri text, span_start int, span_end int, metadata jsonb,
  lane text, source text, version bigint, content_hash text, steps text, model text, run text,
  observed_at timestamptz, topic text, partition int)"""


class TestConformance(GenerationConformance):
    descriptor = DESCRIPTOR
    drivers = ("psycopg",)

    @pytest.fixture
    def make_sink(self, pg_dsn):
        params = PgvectorParams(dsn=pg_dsn, collection="docs")
        return lambda: PgvectorSink(params)

    @pytest.fixture
    def make_generation(self, pg_dsn):
        params = PgvectorParams(dsn=pg_dsn, collection="docs")
        return lambda number: PgvectorSink(params, number)


class TestConformanceWithHnsw(GenerationConformance):
    """As above, with the index built from the first record on."""

    descriptor = DESCRIPTOR

    @pytest.fixture
    def make_sink(self, pg_dsn, monkeypatch):
        monkeypatch.setattr(_pg_writer, "HNSW_FROM_RECORDS", 1)
        params = PgvectorParams(dsn=pg_dsn, collection="docs")
        return lambda: PgvectorSink(params)

    @pytest.fixture
    def make_generation(self, pg_dsn):
        params = PgvectorParams(dsn=pg_dsn, collection="docs")
        return lambda number: PgvectorSink(params, number)


def sink_of(dsn, **params):
    return PgvectorSink(PgvectorParams(dsn=dsn, collection="docs", **params))


def filled(dsn, **params):
    sink = sink_of(dsn, **params)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("a.md", ["one", "two"])])
    return sink


def execute(dsn, statement):
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def test_applications_query_a_view_under_the_name_they_gave(pg_dsn):
    filled(pg_dsn)
    assert execute(pg_dsn, "SELECT text, span_start FROM docs ORDER BY span_start") == [
        ("one", 0),
        ("two", 4),
    ]


@pytest.mark.parametrize(
    ("distance", "score"),
    [
        ("cosine", lambda a, b: a @ b),
        ("l2", lambda a, b: -np.linalg.norm(a - b)),
        ("dot", lambda a, b: a @ b),
    ],
)
def test_a_score_is_higher_for_the_nearer_whatever_the_distance(pg_dsn, monkeypatch, distance, score):
    monkeypatch.setattr(_pg_writer, "HNSW_FROM_RECORDS", 1)
    sink = filled(pg_dsn, distance=distance)
    with closing(sink.open(1)) as writer:
        writer.settle()
    hits = search(sink, "one", 2)
    assert [hit.text for hit in hits] == ["one", "two"]
    expected = [score(vector_of(text), vector_of("one")) for text in ("one", "two")]
    assert [hit.score for hit in hits] == pytest.approx(expected, abs=1e-5)


def test_the_index_is_built_when_the_load_is_over_and_used(pg_dsn, monkeypatch):
    monkeypatch.setattr(_pg_writer, "HNSW_FROM_RECORDS", 1_000)
    sink = filled(pg_dsn)
    with closing(sink.open(1)) as writer:
        writer.settle()
        assert execute(pg_dsn, HNSW) == []
        write_many(writer, 300)
        writer.settle()
        assert execute(pg_dsn, HNSW) == [("docs__1__hnsw",)]
    nearest = f"SELECT id FROM docs ORDER BY embedding <=> '{vector_of('x').tolist()}' LIMIT 5"
    with psycopg.connect(pg_dsn) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(f"EXPLAIN {nearest}").fetchall()
    assert "docs__1__hnsw" in str(plan)


def test_no_index_is_built_where_none_is_wanted(pg_dsn, monkeypatch):
    monkeypatch.setattr(_pg_writer, "HNSW_FROM_RECORDS", 1)
    with closing(filled(pg_dsn, index="none").open(1)) as writer:
        writer.settle()
    assert execute(pg_dsn, HNSW) == []


def test_an_index_that_was_left_half_built_is_built_again(pg_dsn, monkeypatch):
    monkeypatch.setattr(_pg_writer, "HNSW_FROM_RECORDS", 1)
    with closing(filled(pg_dsn).open(1)) as writer:
        writer.settle()
        execute(pg_dsn, "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'docs__1__hnsw'::regclass")
        writer.settle()
    assert execute(
        pg_dsn, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'docs__1__hnsw'::regclass"
    ) == [(True,)]


def test_a_selective_filter_finds_all_that_match_beside_an_index(pg_dsn, monkeypatch):
    monkeypatch.setattr(_pg_writer, "HNSW_FROM_RECORDS", 1)
    sink = filled(pg_dsn)
    with closing(sink.open(1)) as writer:
        write_many(writer, 500)
        writer.apply([make_set("rare.md", [f"rare {n}" for n in range(5)], metadata={"rare": True})])
        writer.settle()
    with closing(sink.index()) as index:
        assert len(index.search(vector_of("far away"), 5, parse_filter("metadata.rare == true"))) == 5


def test_more_dimensions_than_an_index_takes_are_refused_before_anything_is_made(pg_dsn):
    large = replace(OWNER, dimensions=3072)
    with pytest.raises(Fatal, match=r'3072.*"index": "none"'):
        sink_of(pg_dsn).prepare(large)
    sink_of(pg_dsn, index="none").prepare(large)


def test_a_text_with_a_nul_is_a_fault_of_its_set(pg_dsn):
    sink = filled(pg_dsn)
    with closing(sink.open(1)) as writer:
        batch = [make_set("b.md", ["be\0fore"]), make_set("c.md", ["three"]), make_set("k\0y", ["four"])]
        outcomes = writer.apply([*batch, make_set("d.md", ["five"], metadata={"n": "\0"})])
    assert [outcome.fault is None for outcome in outcomes] == [False, True, False, False]
    assert texts(sink) == {"one", "two", "three"}


def test_what_only_the_server_refuses_is_narrowed_to_its_set(pg_dsn):
    sink = filled(pg_dsn)
    execute(pg_dsn, "ALTER TABLE docs__1 ADD CHECK (text <> 'forbidden')")
    with closing(sink.open(1)) as writer:
        batch = [make_set(f"{n}.md", ["forbidden" if n == 5 else f"text {n}"]) for n in range(9)]
        outcomes = writer.apply(batch)
    assert [outcome.fault is None for outcome in outcomes] == [n != 5 for n in range(9)]
    assert len(read(sink)) == 10


def test_a_dropped_table_gives_a_new_collection(pg_dsn):
    first = sink_of(pg_dsn).prepare(OWNER)
    execute(pg_dsn, "DROP TABLE docs__1 CASCADE")
    assert sink_of(pg_dsn).prepare(OWNER) != first


def test_a_table_that_vanishes_while_writing_is_fatal(pg_dsn):
    with closing(filled(pg_dsn).open(1)) as writer:
        execute(pg_dsn, "DROP TABLE docs__1 CASCADE")
        with pytest.raises(Fatal, match="start the run again"):
            writer.apply([make_set("b.md", ["three"])])


def test_a_table_of_the_same_name_is_not_touched(pg_dsn):
    execute(pg_dsn, "CREATE TABLE docs (x int)")
    with pytest.raises(Refused, match='"create": false'):
        sink_of(pg_dsn).prepare(OWNER)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("DROP TABLE docs", "no such table"),
        ("ALTER TABLE docs DROP COLUMN run, DROP COLUMN key", "lacks the columns key text, run text"),
        ("ALTER TABLE docs DROP CONSTRAINT docs_pkey", "unique"),
        ("ALTER TABLE docs ALTER COLUMN metadata TYPE text", '"metadata" is text'),
    ],
)
def test_a_users_table_is_verified(pg_dsn, change, says):
    execute(pg_dsn, USERS_TABLE.format(8))
    execute(pg_dsn, change)
    with pytest.raises(Refused, match=says):
        sink_of(pg_dsn, create=False).prepare(OWNER)


def test_a_users_table_of_other_dimensions_is_fatal(pg_dsn):
    execute(pg_dsn, USERS_TABLE.format(3))
    with pytest.raises(Fatal, match=r"3 dimensions.* 8"):
        sink_of(pg_dsn, create=False).prepare(OWNER)


def test_two_processes_may_prepare_at_once(pg_dsn):
    ids = []
    threads = [Thread(target=lambda: ids.append(sink_of(pg_dsn).prepare(OWNER))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 4
    assert len(set(ids)) == 1


def test_a_takeover_waits_for_the_batch_of_the_former_owner(pg_dsn):
    """The fence row is locked by a batch, so no part of it can follow the takeover."""
    sink = filled(pg_dsn)
    with closing(sink.open(1)) as old, psycopg.connect(pg_dsn) as slow:
        slow.execute("SELECT token FROM nvisy_collections FOR SHARE")
        opened = []
        taker = Thread(target=lambda: opened.append(sink.open(2)))
        taker.start()
        time.sleep(0.2)
        assert opened == []
        slow.rollback()
        taker.join()
        with pytest.raises(Refused, match="newer run"):
            old.apply([make_set("b.md", ["zombie"])])
        opened[0].close()


def test_a_writer_connects_again_after_its_connection_was_cut(pg_dsn):
    with closing(filled(pg_dsn).open(1)) as writer:
        execute(
            pg_dsn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'nvisy%' AND datname = current_database()",
        )
        with pytest.raises(Transient):
            writer.apply([make_set("b.md", ["three"])])
        assert writer.apply([make_set("b.md", ["three"])])[0].written == 1


def test_a_wrong_password_is_fatal_and_not_shown(pg_dsn):
    parts = urlsplit(pg_dsn)
    if not parts.password:
        dsn = pg_dsn.replace("password=", "password=wrong-")
    else:
        dsn = pg_dsn.replace(parts.password, "wrong-password")
    with pytest.raises((Fatal, Unreachable)) as failed:
        sink_of(dsn).check()
    assert "wrong-password" not in str(failed.value)
    assert isinstance(failed.value, Fatal)


def test_a_server_that_is_not_there_is_unreachable_at_once():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port}") as failed:
        sink_of(f"postgresql://me:hidden@127.0.0.1:{port}/db").check()
    assert time.monotonic() - started < 5
    assert "hidden" not in str(failed.value)


def test_a_server_that_does_not_answer_is_unreachable_within_five_seconds():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        started = time.monotonic()
        with pytest.raises(Unreachable):
            sink_of(f"postgresql://me@127.0.0.1:{deaf.getsockname()[1]}/db").check()
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("dsn", ["nonsense", "postgresql://u:pass%word@h:x/db", "host=h password='hidden"])
def test_a_dsn_that_makes_no_sense_is_explained_without_its_password(dsn):
    sink = sink_of(dsn)
    with pytest.raises((Fatal, Unreachable)) as failed:
        sink.check()
    assert "hidden" not in str(failed.value)
    assert "pass%word" not in str(failed.value)


def test_a_missing_database_is_named(pg_dsn):
    head, _, tail = pg_dsn.rpartition("/")
    with pytest.raises(Fatal, match="no-such-db"):
        sink_of(f"{head}/no-such-db{tail[tail.index('?') :] if '?' in tail else ''}").check()


def test_a_database_that_may_only_be_read_is_fatal(pg_dsn):
    sink = filled(pg_dsn)
    with closing(sink.open(1)) as writer:
        writer._connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(Fatal, match="read-only"):
            writer.apply([make_set("b.md", ["three"])])


def test_a_sweep_takes_records_that_lost_their_head_and_leaves_the_users(pg_dsn):
    execute(pg_dsn, USERS_TABLE.format(8))
    mine = "INSERT INTO docs (id, mine, key, version) VALUES (gen_random_uuid(), 'y', 'a.md', 1)"
    execute(pg_dsn, mine)
    sink = filled(pg_dsn, create=False)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("b.md", ["newer"], offset=9), make_set("c.md", ["three"], offset=9)])
        execute(pg_dsn, "DELETE FROM docs__heads WHERE key < 'c'")
        assert set(writer.lanes()) == {LANE}
        assert writer.sweep(LANE, version(9)) == 2
    assert execute(pg_dsn, "SELECT coalesce(mine, text) FROM docs ORDER BY 1") == [
        ("newer",),
        ("three",),
        ("y",),
    ]


def test_a_sweep_that_was_cut_off_is_completed_by_a_repeat(pg_dsn, monkeypatch):
    monkeypatch.setattr(_pg_sweep, "KEYS_AT_ONCE", 2)
    sink = sink_of(pg_dsn)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set(f"{n}.md", [f"{n} one", f"{n} two"], offset=n) for n in range(1, 9)])
        check, lost = writer._check_fence, iter([False, False, True])

        def check_fence(connection):
            if next(lost):
                connection.close()
            check(connection)

        writer._check_fence = check_fence
        with pytest.raises(Transient):
            writer.sweep(LANE, version(8))
        writer._check_fence = check
        assert len(read(sink)) == 8
        assert writer.sweep(LANE, version(8)) == 6
    assert texts(sink) == {"8 one", "8 two"}


def test_a_sweep_and_an_apply_to_the_same_keys_do_not_tear_a_document(pg_dsn, monkeypatch):
    """Workers of one run share a token: locks keep them apart, in whichever order they come."""
    monkeypatch.setattr(_pg_sweep, "KEYS_AT_ONCE", 10)
    sink = filled(pg_dsn)
    keys = [f"{n:03}.md" for n in range(200)]
    with closing(sink.open(1)) as one, closing(sink.open(1)) as two:
        one.apply([make_set(key, [f"{key} one", f"{key} two"], offset=1) for key in keys])
        sweeping = Thread(target=two.sweep, args=(LANE, version(2)))
        sweeping.start()
        for start in range(190, -1, -10):
            batch = keys[start : start + 10]
            one.apply([make_set(key, [f"{key} one", f"{key} two"], offset=2) for key in batch])
        sweeping.join()
        assert {one.head(LANE, key) for key in keys} == {version(2)}
    assert texts(sink) == {f"{key} {word}" for key in keys for word in ("one", "two")}


def test_a_transaction_that_was_ended_while_the_process_stood_still_may_be_repeated(pg_dsn):
    with psycopg.connect(pg_dsn) as connection:
        connection.execute("SET idle_in_transaction_session_timeout = '20ms'")
        time.sleep(0.2)
        with pytest.raises(Transient, match="idle-in-transaction"), translated("Postgres", "it"):
            connection.execute("SELECT 1")
