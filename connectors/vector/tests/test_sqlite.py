"""`vector/sqlite` keeps a sink's promises, and has its own errors in words."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import apsw
import numpy as np
import pytest
from nvisy_vector import _sqlite_sweep
from nvisy_vector._sqlite_file import transaction
from nvisy_vector.sqlite import DESCRIPTOR, SqliteParams, SqliteSink

from nvisy.errors import Fatal, Refused, Transient
from nvisy.testing.records import LANE, OWNER, make_set, vector_of, version
from nvisy.testing.sink_conformance import GenerationConformance, SinkConformance, read, search, texts

USERS_TABLE = """CREATE TABLE docs (mine TEXT, id TEXT PRIMARY KEY, key TEXT, lane TEXT, source TEXT, version INTEGER,
  source_uri TEXT, span_start INTEGER, span_end INTEGER, content_hash TEXT, steps TEXT, model TEXT, run TEXT,
  observed_at TEXT, topic TEXT, partition INTEGER, metadata TEXT, embedding BLOB, text TEXT)"""


class TestConformance(GenerationConformance):
    descriptor = DESCRIPTOR
    drivers = ("apsw", "sqlite_vec")

    @pytest.fixture
    def make_sink(self, tmp_path):
        params = SqliteParams(path=tmp_path / "folder" / "index.db", collection="docs")
        return lambda: SqliteSink(params)

    @pytest.fixture
    def make_generation(self, tmp_path):
        params = SqliteParams(path=tmp_path / "folder" / "index.db", collection="docs")
        return lambda number: SqliteSink(params, number)


class TestConformanceOfAUsersTable(SinkConformance):
    descriptor = DESCRIPTOR
    drivers = ("apsw", "sqlite_vec")

    @pytest.fixture
    def make_sink(self, path):
        apsw.Connection(str(path)).execute(USERS_TABLE)
        return lambda: sink_of(path, create=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index.db"


def sink_of(path, **params):
    return SqliteSink(SqliteParams(path=path, collection="docs", **params))


def filled(path, **params):
    sink = sink_of(path, **params)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("a.md", ["one", "two"])])
    return sink


def test_applications_query_a_view_under_the_name_they_gave(path):
    filled(path)
    rows = (
        apsw.Connection(str(path))
        .execute("SELECT key, text, span_start FROM docs ORDER BY span_start")
        .fetchall()
    )
    assert rows == [("a.md", "one", 0), ("a.md", "two", 4)]


@pytest.mark.parametrize(
    ("distance", "score"),
    [
        ("cosine", lambda a, b: a @ b),
        ("l2", lambda a, b: -np.linalg.norm(a - b)),
        ("dot", lambda a, b: a @ b),
    ],
)
def test_a_score_is_higher_for_the_nearer_whatever_the_distance(path, distance, score):
    sink = filled(path, distance=distance)
    hits = search(sink, "one", 2)
    assert [hit.text for hit in hits] == ["one", "two"]
    expected = [score(vector_of(text), vector_of("one")) for text in ("one", "two")]
    assert [hit.score for hit in hits] == pytest.approx(expected, abs=1e-5)


def test_a_vector_without_direction_is_stored_and_never_near(path):
    sink = filled(path)
    with closing(sink.open(1)) as writer:
        zero = replace(make_set("zero.md", ["nothing"]).records[0], vector=np.zeros(8, np.float32))
        writer.apply([replace(make_set("zero.md", offset=5), records=(zero,), digest="zero")])
    assert {hit.text: hit.score for hit in search(sink, "one", 9)}["nothing"] == 0.0


def test_another_distance_is_fatal(path):
    filled(path)
    with pytest.raises(Fatal, match=r"cosine.*l2"):
        sink_of(path, distance="l2").prepare(OWNER)


def test_a_dropped_table_gives_a_new_collection(path):
    first = sink_of(path).prepare(OWNER)
    filled(path)
    apsw.Connection(str(path)).execute("DROP TABLE docs__1")
    assert sink_of(path).prepare(OWNER) != first
    with closing(sink_of(path).open(1)) as writer:
        assert writer.apply([make_set("a.md", ["one"])])[0].written == 1


def test_a_collection_made_anew_stops_the_writer_of_the_former(path):
    sink = filled(path)
    with closing(sink.open(1)) as writer:
        apsw.Connection(str(path)).execute("DROP TABLE docs__1; DROP TABLE docs__1__heads")
        sink_of(path).prepare(OWNER)
        with pytest.raises(Fatal, match="start the run again"):
            writer.apply([make_set("b.md", ["three"])])


def test_two_collections_share_a_file(path):
    filled(path)
    other = SqliteSink(SqliteParams(path=path, collection="notes"))
    other.prepare(replace(OWNER, graph="another"))
    assert read(other) == []
    assert texts(sink_of(path)) == {"one", "two"}


def test_a_table_of_the_same_name_is_not_touched(path):
    apsw.Connection(str(path)).execute("CREATE TABLE docs (x); INSERT INTO docs VALUES (1)")
    with pytest.raises(Refused, match='"create": false'):
        sink_of(path).prepare(OWNER)
    assert apsw.Connection(str(path)).execute("SELECT x FROM docs").fetchall() == [(1,)]


def test_a_physical_table_that_is_not_ours_is_not_touched(path):
    apsw.Connection(str(path)).execute("CREATE TABLE docs__1 (x)")
    with pytest.raises(Refused, match="did not make"):
        sink_of(path).prepare(OWNER)


def test_a_users_table_cannot_be_built_anew(path):
    apsw.Connection(str(path)).execute(USERS_TABLE)
    filled(path, create=False)
    second = SqliteSink(SqliteParams(path=path, collection="docs", create=False), 2)
    for refused in (
        second.current,
        lambda: second.prepare(OWNER),
        lambda: second.serve(9),
        lambda: second.drop(9),
    ):
        with pytest.raises(Refused, match='"create": false'):
            refused()
    assert texts(sink_of(path, create=False)) == {"one", "two"}


def test_the_view_leads_to_the_generation_that_serves(path):
    filled(path)
    second = SqliteSink(SqliteParams(path=path, collection="docs", distance="l2"), 2)
    second.prepare(OWNER)
    with closing(second.open(1)) as writer:
        writer.apply([make_set("a.md", ["new"])])
    reader = apsw.Connection(str(path))
    query = "SELECT text FROM docs ORDER BY text"
    assert reader.execute(query).fetchall() == [("one",), ("two",)]
    second.serve(1)
    assert reader.execute(query).fetchall() == [("new",)]
    sink_of(path).drop(1)
    names = {name for (name,) in reader.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'docs%'")}
    assert names == {"docs", "docs__2", "docs__2__key", "docs__2__heads"}


def test_a_users_table_keeps_what_the_user_put_there(path):
    connection = apsw.Connection(str(path))
    connection.execute(USERS_TABLE)
    connection.execute("INSERT INTO docs (id, mine) VALUES ('x', 'y')")
    sink = filled(path, create=False)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("a.md", offset=2)])
    assert connection.execute("SELECT mine FROM docs").fetchall() == [("y",)]


@pytest.mark.parametrize(
    ("ddl", "says"),
    [
        ("SELECT 1", "no such table"),
        ("CREATE TABLE docs (id TEXT PRIMARY KEY, embedding BLOB)", "lacks the columns text, key"),
        (USERS_TABLE.replace(" PRIMARY KEY", ""), "unique"),
    ],
)
def test_a_users_table_is_verified(path, ddl, says):
    apsw.Connection(str(path)).execute(ddl)
    with pytest.raises(Refused, match=says):
        sink_of(path, create=False).prepare(OWNER)


def test_a_users_table_of_other_dimensions_is_fatal(path):
    connection = apsw.Connection(str(path))
    connection.execute(USERS_TABLE)
    connection.execute("INSERT INTO docs (id, embedding) VALUES ('x', zeroblob(12))")
    with pytest.raises(Fatal, match=r"3 dimensions.* 8"):
        sink_of(path, create=False).prepare(OWNER)


def test_a_file_that_is_no_database_is_named(path):
    path.write_text("hello, this is a text file and not a database " * 100)
    for call in (lambda: sink_of(path).check(), lambda: sink_of(path).prepare(OWNER)):
        with pytest.raises(Fatal, match="not an SQLite file"):
            call()


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for call in (SqliteSink.check, lambda sink: sink.prepare(OWNER)):
        with pytest.raises(Fatal, match="cannot be made"):
            call(sink_of(tmp_path / "file" / "index.db"))


def test_a_full_disk_is_fatal_and_loses_nothing(path):
    sink = filled(path)
    with closing(sink.open(1)) as writer:
        connection = writer._connection
        pages = connection.pragma("page_count")
        connection.pragma("max_page_count", pages + 1)
        with pytest.raises(Fatal, match="full"):
            writer.apply([make_set(f"{n}.md", ["much text " * 500]) for n in range(50)])
        connection.pragma("max_page_count", 1 << 20)
        assert texts(sink) == {"one", "two"}
        writer.apply([make_set("b.md", ["three"])])
    assert texts(sink) == {"one", "two", "three"}


def test_a_locked_file_is_transient(path, monkeypatch):
    sink = filled(path)
    with closing(sink.open(1)) as writer:
        writer._connection.set_busy_timeout(10)
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Transient, match="locked"):
            writer.apply([make_set("b.md", ["three"])])
        other.execute("ROLLBACK")
        assert writer.apply([make_set("b.md", ["three"])])[0].written == 1


def test_another_process_reads_while_this_one_is_writing(path):
    sink = filled(path)
    with closing(sink.open(1)) as writer:
        writer._connection.execute("BEGIN IMMEDIATE")
        code = (
            "import sys, pathlib; from nvisy_vector.sqlite import *;"
            "index = SqliteSink(SqliteParams(path=pathlib.Path(sys.argv[1]), collection='docs')).index();"
            "print(len(list(index.records(None))))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
        )
        writer._connection.execute("ROLLBACK")
    assert done.stdout.strip() == "2", done.stderr


def test_what_apply_returned_for_survives_a_kill(path):
    sink_of(path).prepare(OWNER)
    code = (
        "import os, sys, pathlib; from nvisy_vector.sqlite import *; from nvisy.testing.records import make_set;"
        "writer = SqliteSink(SqliteParams(path=pathlib.Path(sys.argv[1]), collection='docs')).open(1);"
        "writer.apply([make_set('a.md', ['one'])]);"
        "writer._connection.execute('BEGIN IMMEDIATE'); writer._connection.execute('DELETE FROM docs__1');"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert texts(sink_of(path)) == {"one"}
    with closing(sink_of(path).open(1)) as writer:
        assert writer.apply([make_set("a.md", ["one"])])[0].unchanged == 1


def test_a_folder_that_may_not_be_written_is_named(path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(Fatal, match="may write"):
        sink_of(path).check()


def test_a_file_that_may_not_be_written_is_fatal(path):
    with closing(filled(path).open(1)) as writer:
        writer._connection.pragma("query_only", True)
        with pytest.raises(Fatal, match="read-only"):
            writer.apply([make_set("b.md", ["three"])])


def test_a_collections_name_is_checked():
    with pytest.raises(ValueError, match="collection"):
        SqliteParams(path="x.db", collection='a"; DROP TABLE b')


def test_a_sweep_takes_records_that_lost_their_head_and_leaves_the_users(path):
    connection = apsw.Connection(str(path))
    connection.execute(USERS_TABLE)
    connection.execute("INSERT INTO docs (id, mine, key, version) VALUES ('x', 'y', 'a.md', 1)")
    sink = filled(path, create=False)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set("b.md", ["newer"], offset=9), make_set("c.md", ["three"], offset=9)])
        connection.execute("DELETE FROM docs__heads WHERE key < 'c'")
        assert set(writer.lanes()) == {LANE}
        assert writer.sweep(LANE, version(9)) == 2
    assert connection.execute("SELECT coalesce(mine, text) FROM docs ORDER BY 1").fetchall() == [
        ("newer",),
        ("three",),
        ("y",),
    ]


def test_a_sweep_that_was_cut_off_is_completed_by_a_repeat(path, monkeypatch):
    monkeypatch.setattr(_sqlite_sweep, "KEYS_AT_ONCE", 2)
    sink = sink_of(path)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as writer:
        writer.apply([make_set(f"{n}.md", [f"{n} one", f"{n} two"], offset=n) for n in range(1, 9)])
        check, left = writer._check_fence, iter([1, 1])

        def check_fence():
            next(left)
            check()

        writer._check_fence = check_fence
        with pytest.raises(StopIteration):
            writer.sweep(LANE, version(8))
        writer._check_fence = check
        assert len(read(sink)) == 8
        assert [writer.head(LANE, f"{n}.md") for n in range(1, 9)] == [None] * 4 + [
            version(n) for n in range(5, 9)
        ]
        assert writer.sweep(LANE, version(8)) == 6
    assert texts(sink) == {"8 one", "8 two"}


def test_a_takeover_in_the_middle_of_a_sweep_ends_it(path, monkeypatch):
    monkeypatch.setattr(_sqlite_sweep, "KEYS_AT_ONCE", 2)
    sink = sink_of(path)
    sink.prepare(OWNER)
    with closing(sink.open(1)) as old:
        old.apply([make_set(f"{n}.md", [f"{n}"]) for n in range(8)])
        taken_over = iter([False, False, True])

        def before_a_transaction(connection):
            if next(taken_over):
                sink.open(2).close()
            return transaction(connection)

        monkeypatch.setattr(_sqlite_sweep, "transaction", before_a_transaction)
        with pytest.raises(Refused, match="newer run"):
            old.sweep(LANE, version(5))
    assert texts(sink) == {"4", "5", "6", "7"}
