"""`sql/sqlite`: every row once, changes and deletes by comparison, and no row that spoils the others."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from nvisy_sql.row import Row
from nvisy_sql.sqlite import DESCRIPTOR, SqliteParams, SqliteSource

from nvisy.connector.source import Item, Unreadable
from nvisy.errors import Fatal, Unreachable
from nvisy.expressions import FieldType


class File:
    """A database in the hands of a test."""

    def __init__(self, path):
        self.path = path

    def execute(self, statement, *values):
        with closing(sqlite3.connect(self.path)) as database, database:
            return database.execute(statement, values).fetchall()

    def source(self, *tables):
        return SqliteSource(SqliteParams(path=self.path, tables=tables or ("notes",)))

    def listed(self, *tables):
        return {entry.key: entry for entry in self.source(*tables).scan()}


@pytest.fixture
def file(tmp_path):
    file = File(tmp_path / "notes.db")
    file.execute('CREATE TABLE notes (owner TEXT, n INTEGER, body, "sub title", PRIMARY KEY (owner, n))')
    file.execute("INSERT INTO notes VALUES ('a', 1, 'first', NULL), ('a,b', 2, 2.5, x'00ff')")
    return file


def test_every_row_is_an_item_with_its_columns_as_values(file):
    listed = file.listed()
    assert set(listed) == {"notes/a,1", "notes/a%2Cb,2"}
    row = listed["notes/a%2Cb,2"].load()
    assert isinstance(row, Row)
    assert (row.table, row.values) == ("notes", {"owner": "a,b", "n": 2, "body": 2.5, "sub title": "AP8="})
    assert (row["body"], row["row"]["sub title"], row["missing"]) == (2.5, "AP8=", None)


def test_a_fingerprint_changes_with_the_row_and_only_then(file):
    before = {key: item.fingerprint for key, item in file.listed().items()}
    file.execute("UPDATE notes SET body = 'second' WHERE n = 1")
    file.execute("UPDATE notes SET body = body WHERE n = 2")
    after = {key: item.fingerprint for key, item in file.listed().items()}
    assert {key for key in before if before[key] != after[key]} == {"notes/a,1"}


def test_a_table_without_a_key_has_its_rowid(file):
    file.execute("CREATE TABLE plain (t TEXT)")
    file.execute("INSERT INTO plain VALUES ('x'), ('y')")
    assert [item.load().values for item in file.listed("plain").values()] == [{"t": "x"}, {"t": "y"}]
    assert set(file.listed("notes", "plain")) >= {"plain/1", "plain/2", "notes/a,1"}


def test_a_text_that_is_none_spoils_its_row_alone(file):
    file.execute("UPDATE notes SET body = CAST(x'ff' AS TEXT) WHERE n = 1")
    listed = file.listed()
    assert isinstance(listed["notes/a,1"], Unreadable)
    assert isinstance(listed["notes/a%2Cb,2"], Item)


def test_what_is_missing_is_said(file, tmp_path):
    with pytest.raises(Fatal, match="there is no table 'other'"):
        file.source("other").check()
    with pytest.raises(Unreachable, match="there is no file"):
        SqliteSource(SqliteParams(path=tmp_path / "none.db", tables=("t",))).check()
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(Fatal, match="cannot be read"):
        SqliteSource(SqliteParams(path=tmp_path / "text.db", tables=("t",))).check()


def test_a_write_is_noticed(file):
    source = file.source()
    list(source.scan())
    assert not source.wait(0.01)
    file.execute("DELETE FROM notes")
    assert source.wait(0.01)


def test_expressions_see_the_columns(file, tmp_path):
    shape = DESCRIPTOR.shape(SqliteParams(path=file.path, tables=("notes",)))
    fields = dict(shape.fields)
    assert fields["body"] is FieldType.DYN
    assert "sub title" not in fields
    assert fields["row"] is FieldType.MAP
    assert DESCRIPTOR.shape(SqliteParams(path=tmp_path / "none.db", tables=("t",))).open


def test_listing_what_is_installed_loads_no_driver():
    code = "import sys, nvisy_sql.sqlite, nvisy_sql.postgres; print('psycopg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
