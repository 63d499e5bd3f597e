"""Who keeps a content that several documents have: the memory of `deduplicate`.

The owner of a content is the smallest (source, key) among the living that have it. That depends on what is alive and
not on the order in which it came, so a rebuild ends where the live stream did.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import apsw

from nvisy.primitives.provenance import Version

_FORMAT = 1

_SCHEMA = """
CREATE TABLE documents (
    number INTEGER PRIMARY KEY, source TEXT NOT NULL, key TEXT NOT NULL, inc INTEGER NOT NULL, off INTEGER NOT NULL,
    ref TEXT, UNIQUE (source, key)
);
CREATE TABLE contents (
    hash TEXT NOT NULL, source TEXT NOT NULL, key TEXT NOT NULL, document INTEGER NOT NULL,
    PRIMARY KEY (hash, source, key)
) WITHOUT ROWID;
CREATE INDEX contents_of ON contents (document);
CREATE TABLE positions (input TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
"""
_OWNER = "SELECT source, key FROM contents WHERE hash = ? ORDER BY source, key LIMIT 1"


class Name(NamedTuple):
    """A document: the id of its source node, and its key there."""

    source: str
    key: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One version of a document, as the input brings it.

    Attributes:
        hashes: Content hashes of its items; empty for a delete, and where nothing is left of it.
        ref: Where the version can be read again, in any form the caller likes; None for a delete.
    """

    name: Name
    version: Version
    hashes: frozenset[str]
    ref: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What a document consists of from now on.

    Attributes:
        ref: The version to take it from; None if the document was deleted.
        owned: Hashes of the items that it keeps. The others are another document's; with none, it is empty.
    """

    name: Name
    ref: str | None
    owned: frozenset[str]


class FirstOwner:
    """Owners by content, in a SQLite file.

    The file is a cache of the compacted input up to `positions`: where they differ from what was committed, or the
    file is lost, the caller clears it and applies the input again from the start.
    """

    def __init__(self, path: Path) -> None:
        """The state in file `path`; a missing, damaged or foreign one starts empty."""
        self._path = path
        self._connection = _opened(path)
        self._connection.execute("BEGIN IMMEDIATE")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def positions(self) -> Mapping[str, int]:
        """Position of each input (a topic's partition, however the caller writes it) at the last commit."""
        return dict(self._rows("SELECT input, position FROM positions"))

    def apply(self, seen: Seen) -> list[Decision]:
        """Take note of a version.

        Returns:
            What every document that it concerns consists of now, the seen one first: it, those that lost a content to
            it, and those that inherit what it no longer has. Nothing for a version older than the one known.
        """
        if self._is_older(seen):
            return []
        before = self._hashes(seen.name)
        touched = before | seen.hashes
        owners = {each: self._owner(each) for each in touched}
        self._record(seen, before)
        concerned = {seen.name: None}  # a dict keeps the order
        for each in sorted(touched):
            former, latter = owners[each], self._owner(each)
            if former != latter:
                concerned |= dict.fromkeys(name for name in (former, latter) if name is not None)
        return [self._decision(name) for name in concerned]

    def decisions(self) -> Iterator[Decision]:
        """What every document consists of, deleted ones too, in the order of their names."""
        names = [Name(*row) for row in self._rows("SELECT source, key FROM documents ORDER BY source, key")]
        return map(self._decision, names)

    def older(self, source: str, version: Version) -> list[tuple[Name, str]]:
        """Living documents of a source whose version is lower, and their refs, in the order of their keys."""
        query = (
            "SELECT source, key, ref FROM documents WHERE source = ? AND ref IS NOT NULL AND (inc, off) < (?, ?)"
            " ORDER BY key"
        )
        return [(Name(*name), ref) for *name, ref in self._rows(query, source, *version)]

    def commit(self, positions: Mapping[str, int]) -> None:
        """Make durable what was applied, and that the inputs were read up to `positions`."""
        self._connection.executemany("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    def rollback(self) -> None:
        """Forget what was applied since the last commit."""
        self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN IMMEDIATE")

    def clear(self) -> None:
        """Forget everything."""
        for table in ("documents", "contents", "positions"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - names from the line above

    def close(self) -> None:
        """Close the file; what was not committed is forgotten. May be called twice."""
        self._connection.close()

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._connection.execute(query, values).fetchall()

    def _is_older(self, seen: Seen) -> bool:
        known = self._rows("SELECT inc, off FROM documents WHERE source = ? AND key = ?", *seen.name)
        return bool(known) and seen.version < Version(*known[0])

    def _owner(self, content: str) -> Name | None:
        rows = self._rows(_OWNER, content)
        return Name(*rows[0]) if rows else None

    def _hashes(self, name: Name) -> frozenset[str]:
        query = "SELECT hash FROM contents WHERE document = (SELECT number FROM documents WHERE source = ? AND key = ?)"
        return frozenset(row[0] for row in self._rows(query, *name))

    def _record(self, seen: Seen, before: Iterable[str]) -> None:
        ((number,),) = self._rows(
            "INSERT INTO documents (source, key, inc, off, ref) VALUES (?, ?, ?, ?, ?) ON CONFLICT (source, key) "
            "DO UPDATE SET inc = excluded.inc, off = excluded.off, ref = excluded.ref RETURNING number",
            *seen.name,
            *seen.version,
            seen.ref,
        )
        gone = [(each, *seen.name) for each in set(before) - seen.hashes]
        self._connection.executemany("DELETE FROM contents WHERE hash = ? AND source = ? AND key = ?", gone)
        kept = [(each, *seen.name, number) for each in seen.hashes]
        self._connection.executemany("INSERT OR IGNORE INTO contents VALUES (?, ?, ?, ?)", kept)

    def _decision(self, name: Name) -> Decision:
        ((ref,),) = self._rows("SELECT ref FROM documents WHERE source = ? AND key = ?", *name)
        owned = frozenset(each for each in self._hashes(name) if self._owner(each) == name)
        return Decision(name, ref, owned)


def _opened(path: Path) -> apsw.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _connected(path)
    except (apsw.CorruptError, apsw.NotADBError, apsw.SQLError):
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return _connected(path)


def _connected(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(5000)
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "normal")
        with connection:
            found = connection.pragma("user_version")
            if found == 0:
                connection.execute(_SCHEMA)
                connection.pragma("user_version", _FORMAT)
            elif found != _FORMAT:
                raise apsw.NotADBError(f"its format is {found}, and this version reads {_FORMAT}")
    except BaseException:
        connection.close()
        raise
    return connection
