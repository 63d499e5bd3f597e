"""An SQLite file with collections in it: opening it, its tables, its errors in words."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nvisy.connector.sink import Owner
from nvisy.errors import Fatal, Refused, Rejected, Transient
from nvisy_vector._layout import heads_name
from nvisy_vector._owner import Marker, gone

if TYPE_CHECKING:
    import apsw

BUSY_TIMEOUT_MS = 5_000
CACHE_KB = 65_536
"""Ids are spread over their whole index, so a load touches all of it: it should stay in memory."""

PAGE_BYTES = 16_384
"""A row of some 2 KB stays on one page: a scan of 100,000 of them takes 68 ms instead of 107."""

COLLECTIONS = """CREATE TABLE IF NOT EXISTS nvisy_collections (
  physical TEXT PRIMARY KEY COLLATE NOCASE,
  collection TEXT NOT NULL COLLATE NOCASE, current INTEGER NOT NULL,
  layout INTEGER NOT NULL, collection_id TEXT NOT NULL, graph TEXT NOT NULL, log TEXT NOT NULL,
  model TEXT NOT NULL, dimensions INTEGER NOT NULL, distance TEXT NOT NULL, token INTEGER NOT NULL)"""

HEADS = """CREATE TABLE "{heads}" (
  lane TEXT NOT NULL, key TEXT NOT NULL, source TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
  ids TEXT NOT NULL, partition INTEGER NOT NULL, observed_at TEXT, PRIMARY KEY (key, lane))"""

RECORDS = """CREATE TABLE "{physical}" (
  id TEXT PRIMARY KEY, key TEXT NOT NULL, lane TEXT NOT NULL, source TEXT NOT NULL, version INTEGER NOT NULL,
  source_uri TEXT, span_start INTEGER, span_end INTEGER, content_hash TEXT, steps TEXT, model TEXT, run TEXT,
  observed_at TEXT, topic TEXT, partition INTEGER,
  metadata TEXT NOT NULL, embedding BLOB NOT NULL, text TEXT)"""

RECORD_COLUMNS = (
    "id",
    "embedding",
    "text",
    "key",
    "source_uri",
    "span_start",
    "span_end",
    "metadata",
    "lane",
    "source",
    "version",
    "content_hash",
    "steps",
    "model",
    "run",
    "observed_at",
    "topic",
    "partition",
)

_MARKER = """SELECT collection_id, physical, graph, log, model, dimensions, distance, token, layout,
  current FROM nvisy_collections WHERE """


def connect(path: Path, *, write: bool) -> apsw.Connection:
    """Open the file with sqlite-vec loaded; with `write` it is made if need be, and in WAL mode."""
    import apsw  # noqa: PLC0415
    import sqlite_vec  # type: ignore[import-untyped]  # noqa: PLC0415

    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if write else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags)
    try:
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        connection.enable_load_extension(True)
        connection.load_extension(sqlite_vec.loadable_path())
        connection.enable_load_extension(False)
        if write:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: apsw.Connection) -> Iterator[None]:
    """Hold the file's write lock; commit at the end, roll back on an error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def marker_of(connection: apsw.Connection, *, physical: str = "", collection: str = "") -> Marker | None:
    """The marker of a physical collection, or of the current generation of a collection, or None."""
    if not exists(connection, "nvisy_collections"):
        return None
    where, name = ("physical = ?", physical) if physical else ("collection = ? AND current = 1", collection)
    row = connection.execute(_MARKER + where, (name,)).fetchone()
    if row is None:
        return None
    collection_id, physical, graph, log, model, dimensions, distance, token, layout, current = row
    owner = Owner(graph, log, model, dimensions)
    return Marker(collection_id, physical, owner, distance, token, layout, bool(current))


def put_marker(connection: apsw.Connection, marker: Marker, collection: str) -> None:
    """Write the marker of a new collection."""
    o = marker.owner
    row = (
        marker.physical,
        collection,
        int(marker.current),
        marker.layout,
        marker.collection_id,
        o.graph,
        o.log,
        o.model,
    )
    connection.execute(
        "INSERT OR REPLACE INTO nvisy_collections VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, o.dimensions, marker.distance, marker.token),
    )


def adopt(connection: apsw.Connection, physical: str, log: str) -> None:
    """Hand a collection over to another log, whose tokens begin anew."""
    connection.execute(
        "UPDATE nvisy_collections SET log = ?, token = 0 WHERE physical = ? AND log <> ?",
        (log, physical, log),
    )


def exists(connection: apsw.Connection, name: str, kind: str = "table") -> bool:
    """Whether the file has a table, or another kind of object, of this name."""
    query = "SELECT 1 FROM sqlite_schema WHERE name = ? COLLATE NOCASE AND type = ?"
    return connection.execute(query, (name, kind)).fetchone() is not None


def create_heads(connection: apsw.Connection, physical: str) -> None:
    """Make the heads of a collection, without those that an earlier collection of that name left behind."""
    heads = heads_name(physical)
    connection.execute(f'DROP TABLE IF EXISTS "{heads}"')
    connection.execute(HEADS.format(heads=heads))


def create_records(connection: apsw.Connection, physical: str) -> None:
    """Make the table of records, without what an earlier one of that name left behind."""
    connection.execute(f'DROP TABLE IF EXISTS "{physical}"')
    connection.execute(RECORDS.format(physical=physical))
    connection.execute(f'CREATE INDEX "{physical}__key" ON "{physical}" (key, lane)')


def create_view(connection: apsw.Connection, collection: str, physical: str, where: str) -> None:
    """Let applications query the current generation under the name they gave."""
    if exists(connection, collection):
        raise Refused(
            f'{where} cannot be made: there is a table "{collection}" already; to write into it, '
            f'set "create": false, else choose another "collection"'
        )
    if not exists(connection, collection, "view"):
        _make_view(connection, collection, physical)


def _make_view(connection: apsw.Connection, collection: str, physical: str) -> None:
    columns = ", ".join(f'"{name}"' for name in RECORD_COLUMNS)
    connection.execute(f'CREATE VIEW "{collection}" AS SELECT {columns} FROM "{physical}"')


def point_view(connection: apsw.Connection, collection: str, physical: str, token: int) -> None:
    """Let the name lead to this generation; in a transaction, so that nobody finds it leading nowhere."""
    connection.execute(
        "UPDATE nvisy_collections SET current = (physical = ?), token = ? WHERE collection = ?",
        (physical, token, collection),
    )
    connection.execute(f'DROP VIEW IF EXISTS "{collection}"')
    _make_view(connection, collection, physical)


def highest_token(connection: apsw.Connection, collection: str) -> int:
    """The highest token that any generation of a collection was opened with."""
    query = "SELECT ifnull(max(token), 0) FROM nvisy_collections WHERE collection = ?"
    return int(connection.execute(query, (collection,)).fetchone()[0])  # type: ignore[index]


def drop(connection: apsw.Connection, physical: str) -> None:
    """Remove a generation whole."""
    for name in (physical, heads_name(physical)):
        connection.execute(f'DROP TABLE IF EXISTS "{name}"')
    connection.execute("DELETE FROM nvisy_collections WHERE physical = ?", (physical,))


def verify_users_table(connection: apsw.Connection, table: str, dimensions: int, where: str) -> None:
    """Refuse to write into a table of the user's own that lacks what a record needs."""
    columns = {row[1]: row[5] for row in connection.execute(f'PRAGMA table_info("{table}")')}
    missing = [name for name in RECORD_COLUMNS if name not in columns]
    if missing:
        raise Refused(
            f"{where} lacks the columns {', '.join(missing)}: add them (docs/index-layout.md has the types)"
        )
    unique = connection.execute(
        "SELECT 1 FROM pragma_index_list(?) AS list WHERE list.[unique] AND "
        "(SELECT group_concat(name) FROM pragma_index_info(list.name)) = 'id'",
        (table,),
    ).fetchone()
    if not unique:
        raise Refused(f'{where} needs its "id" to be the primary key or unique')
    row = connection.execute(
        f'SELECT length(embedding) / 4 FROM "{table}" WHERE embedding IS NOT NULL LIMIT 1'
    ).fetchone()
    if row and row[0] != dimensions:
        raise Fatal(f"{where} holds vectors of {row[0]} dimensions, and the graph's model makes {dimensions}")


@contextmanager
def translated(path: Path, where: str) -> Iterator[None]:
    """Turn SQLite's errors into ours: what happened, and what to do."""
    import apsw  # noqa: PLC0415

    try:
        yield
    except (apsw.BusyError, apsw.LockedError) as error:
        raise Transient(f"{path} is locked by another process ({error})") from error
    except apsw.FullError as error:
        raise Fatal(f"the disk that holds {path} is full: free some space and run again") from error
    except (apsw.ReadOnlyError, apsw.PermissionsError, apsw.AuthError) as error:
        raise Fatal(f"{path} cannot be written: it or its folder is read-only for this user") from error
    except apsw.CantOpenError as error:
        raise Fatal(
            f"{path} cannot be opened: its folder is missing, or this user may not read it"
        ) from error
    except (apsw.NotADBError, apsw.CorruptError, apsw.FormatError) as error:
        raise Fatal(
            f"{path} is not an SQLite file, or is damaged ({error}): move it away and run again"
        ) from error
    except (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError) as error:
        raise Rejected(f"{where} does not take it: {error}", kind="sink") from error
    except apsw.SQLError as error:
        if "no such table" in str(error):
            raise gone(where) from error
        raise Fatal(f"{where}: {error}") from error
    except apsw.Error as error:
        raise Fatal(f"{where}: {error}") from error
