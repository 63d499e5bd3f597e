"""`sql/sqlite`: the rows of tables in an SQLite file.

Unit: a row, keyed `table/key`. Guarantee: every pass lists all rows in one transaction and compares what they say, so a
row that is gone is a delete, and one that was written but says the same is not sent again.
"""

from __future__ import annotations

import hashlib
import math
import sqlite3
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from pydantic import Field

from nvisy.connector.descriptor import Context, Params, SourceDescriptor
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.connector.source import Entry, Item, SourceCapabilities, Unreadable
from nvisy.errors import Fatal, Rejected, Unreachable
from nvisy.expressions import FieldType
from nvisy_sql._changes import row_of
from nvisy_sql._fields import ALWAYS, is_field
from nvisy_sql._tables import escaped, quoted
from nvisy_sql.row import Row


class SqliteParams(Params):
    """Which tables of which file."""

    path: Path = Field(description="The database file. Relative to the graph file.")
    tables: tuple[str, ...] = Field(
        min_length=1, description="Tables, or views, each with a primary key or a rowid."
    )
    poll_s: float = Field(
        1.0, alias="pollSeconds", gt=0, description="How often to look for changes when followed."
    )


@dataclass(frozen=True, slots=True)
class SqliteTable:
    """A table: its columns, and those that name a row."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """What the keys of its rows begin with."""
        return escaped(self.name, "%/") + "/"


class SqliteSource:
    """Lists rows."""

    def __init__(self, params: SqliteParams) -> None:
        self.capabilities = CAPABILITIES
        self._params = params
        self._uri = params.path.absolute().as_uri()
        self._listed: list[tuple[str, int, int]] = []

    def check(self) -> None:
        """The file has to be there, and the tables in it."""
        with connected(self._params.path) as database:
            for name in self._params.tables:
                described(database, name)

    def scan(self) -> Iterator[Entry]:
        """Every row there is now."""
        self._listed = self._stamp()
        with connected(self._params.path) as database:
            database.execute("BEGIN")
            for name in self._params.tables:
                yield from self._rows(database, described(database, name))

    def wait(self, timeout_s: float) -> bool:
        """Whether the file, or its journal, was written since the last pass began."""
        time.sleep(min(timeout_s, self._params.poll_s))
        return self._stamp() != self._listed

    def close(self) -> None:
        """Nothing is held open between passes."""

    def _rows(self, database: sqlite3.Connection, table: SqliteTable) -> Iterator[Entry]:
        chosen = ", ".join(map(quoted, (*table.key, *table.columns)))
        for row in database.execute(f"SELECT {chosen} FROM {quoted(table.name)}"):  # noqa: S608 - quoted
            key, values = row[: len(table.key)], row[len(table.key) :]
            yield self._entry(table, key, dict(zip(table.columns, values, strict=True)))

    def _entry(self, table: SqliteTable, key_values: Sequence[Any], values: dict[str, Any]) -> Entry:
        key = table.prefix + ",".join(escaped(str(_plain(value)), "%,") for value in key_values)
        uri = f"{self._uri}#{quote(key)}"
        broken = next((name for name, value in values.items() if isinstance(value, _NoText)), None)
        if broken is not None:
            error = Rejected(f"row {key}: the text in column {broken} is not UTF-8", kind="decode")
            return Unreadable(key, error, uri, values[broken].data)
        plain = {name: _plain(value) for name, value in values.items()}
        mark = hashlib.sha256(orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)).digest()[:16]
        return Item(key, mark, partial(row_of, table.name, plain), uri)

    def _stamp(self) -> list[tuple[str, int, int]]:
        path = self._params.path
        files = [(file.name, file.stat()) for file in path.parent.glob(f"{path.name}*")]
        return sorted((name, found.st_mtime_ns, found.st_size) for name, found in files)


@contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, open for reading.

    Raises:
        Unreachable: It is not there.
        Fatal: It is no database, or lacks something.
    """
    if not path.exists():
        raise Unreachable(f'there is no file {path}; correct "path", or put it there')
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as db:
            db.text_factory = _text
            yield db
    except sqlite3.OperationalError as error:
        kind = Unreachable if "locked" in str(error) or "busy" in str(error) else Fatal
        raise kind(f"{path} cannot be read: {error}") from error
    except sqlite3.Error as error:
        raise Fatal(f"{path} cannot be read: {error}") from error


def described(database: sqlite3.Connection, name: str) -> SqliteTable:
    """A table with its columns.

    Raises:
        Fatal: There is none of this name.
    """
    rows = database.execute("SELECT name, pk FROM pragma_table_info(?)", (name,)).fetchall()
    if not rows:
        raise Fatal(f'there is no table {name!r} in the database; correct "tables"')
    keyed = sorted((pk, column) for column, pk in rows if pk)
    return SqliteTable(
        name, tuple(column for column, _ in rows), tuple(column for _, column in keyed) or ("rowid",)
    )


@dataclass(frozen=True, slots=True)
class _NoText:
    """What stands in a text and is none."""

    data: bytes


def _text(data: bytes) -> str | _NoText:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _NoText(data)


def _plain(value: Any) -> Any:
    """A value of SQLite's as JSON: numbers that JSON has, and text; bytes as base64."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, _NoText):
        return value.data.decode("utf-8", "backslashreplace")
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


CAPABILITIES = SourceCapabilities(
    emits=frozenset({"Row"}), raw=False, deletes=True, bounded=True, resume="listing"
)


def _shape(params: SqliteParams) -> Shape:
    """SQLite holds values of any type in any column, so their types show when it runs."""
    try:
        with connected(params.path) as database:
            tables = [described(database, name) for name in params.tables]
    except Unreachable:
        return Shape(Row, fields=tuple(ALWAYS.items()), open=True)
    except Fatal as error:
        raise ShapeMismatch(str(error), param="/tables") from error
    names = sorted({name for table in tables for name in table.columns if is_field(name)})
    return Shape(Row, fields=tuple((dict.fromkeys(names, FieldType.DYN) | ALWAYS).items()))


def _open(params: SqliteParams, _context: Context) -> SqliteSource:
    return SqliteSource(params)


DESCRIPTOR = SourceDescriptor(
    name="sql/sqlite",
    summary="Rows of tables in an SQLite file; new, changed and deleted.",
    params=SqliteParams,
    capabilities=CAPABILITIES,
    open=_open,
    shape=_shape,
    example={"path": "notes.db", "tables": ["notes"]},
)
