"""What the log already holds of a listed source: a local copy that may be lost, since the log has it all.

The origin topic keeps the latest change of every key, with the source's fingerprint in it. This file keeps the same
by key, so that a listing of a million keys is compared without reading a million changes and without holding them in
memory. It belongs to one topic id and knows up to which offset it has followed the topic; whatever was appended after
that (a process died before it could note it down) is read from the topic when it is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import apsw
import orjson

from nvisy.errors import Refused

_FORMAT = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS known (key TEXT PRIMARY KEY, fingerprint BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS groups (key TEXT PRIMARY KEY, fingerprint BLOB NOT NULL) WITHOUT ROWID;
"""


class Known(NamedTuple):
    """What is known of one listed key: its fingerprint (None: it is new), and whether this pass saw it before."""

    fingerprint: bytes | None
    seen: bool


class KnownKeys:
    """Fingerprints by key, and the marks of one listing pass."""

    def __init__(self, path: Path, topic_id: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = _open(path)
        self.was_lost = self._meta("topic") is None
        """There was no file, or none that could be read."""
        self._owner = uuid4().hex
        with self._db:
            self._set("owner", self._owner)
        if self._meta("topic") != topic_id or self._meta("format") != str(_FORMAT):
            self.start_over(topic_id)
        self._db.execute("CREATE TEMP TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("CREATE TEMP TABLE spared (prefix TEXT PRIMARY KEY) WITHOUT ROWID")
        self._db.execute("CREATE TEMP TABLE listed (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def followed(self) -> dict[int, int]:
        """By partition: the offset up to which the topic is reflected here."""
        return {int(p): offset for p, offset in orjson.loads(self._meta("followed") or b"{}").items()}

    def note(
        self,
        fingerprints: Mapping[str, bytes | None],
        *,
        groups: Mapping[str, bytes] | None = None,
        followed: Mapping[int, int] | None = None,
    ) -> None:
        """These keys now stand in the log with these fingerprints (None: deleted).

        Raises:
            Refused: Another process has opened the file since: it knows what came after.
        """
        with self._db:
            self._refuse_if_replaced()
            gone = [(key,) for key, fingerprint in fingerprints.items() if fingerprint is None]
            held = [(key, mark) for key, mark in fingerprints.items() if mark is not None]
            self._db.executemany("DELETE FROM known WHERE key = ?", gone)
            self._db.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", held)
            self._db.executemany("INSERT OR REPLACE INTO groups VALUES (?, ?)", (groups or {}).items())
            if followed is not None:
                marks = {str(partition): offset for partition, offset in followed.items()}
                self._set("followed", orjson.dumps(marks).decode())

    def begin_pass(self) -> None:
        """A new listing starts: nothing has been seen yet."""
        self._db.execute("DELETE FROM seen; DELETE FROM spared; DELETE FROM listed")

    def see(self, keys: Sequence[str]) -> list[Known]:
        """Mark `keys` as listed in this pass, and tell what is known of each, in order."""
        rows: Sequence[Any] = self._db.execute(
            "SELECT k.value, known.fingerprint, seen.key IS NOT NULL FROM json_each(?) AS k"
            " LEFT JOIN known ON known.key = k.value LEFT JOIN seen ON seen.key = k.value ORDER BY k.key",
            (orjson.dumps(keys).decode(),),
        ).fetchall()
        answers, here = [], set[str]()
        for key, fingerprint, seen in rows:
            answers.append(Known(fingerprint, bool(seen) or key in here))
            here.add(key)
        self._db.executemany("INSERT OR IGNORE INTO seen VALUES (?)", ((key,) for key in here))
        return answers

    def spare(self, prefix: str) -> None:
        """Count everything below `prefix` as seen: it was not read, or could not be."""
        # No prefix lies within another, so that the greatest one below a key is the only one to compare it with.
        if prefix not in self.was_spared([prefix]):
            self._db.execute(
                "DELETE FROM spared WHERE prefix > :it AND prefix < :it || char(0x10FFFF)", {"it": prefix}
            )
            self._db.execute("INSERT INTO spared VALUES (?)", (prefix,))

    def group(self, key: str) -> bytes | None:
        """Mark a group as listed in this pass; its fingerprint as it was when all of it was read, or None."""
        self._db.execute("INSERT OR IGNORE INTO listed VALUES (?)", (key,))
        row = self._db.execute("SELECT fingerprint FROM groups WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def forget_group(self, key: str) -> None:
        """The group changed: read it whatever its fingerprint."""
        self._db.execute("DELETE FROM groups WHERE key = ?", (key,))

    def forget_unlisted_groups(self) -> None:
        """What this pass did not list is to be read in full if it comes back, since its members are gone by then."""
        self._db.execute("DELETE FROM groups WHERE key NOT IN (SELECT key FROM listed)")

    def unseen(self) -> Iterator[str]:
        """Keys that the log holds and this pass did not list, in order."""
        last = ""
        while page := [
            key for (key,) in self._db.execute(_UNSEEN + " AND key > ? ORDER BY key LIMIT 1000", (last,))
        ]:
            yield from page
            last = page[-1]

    def count_unseen(self) -> int:
        """How many keys `unseen` yields."""
        return self._count(f"({_UNSEEN})")

    def was_seen(self, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that this pass listed, or spared."""
        return self._among(keys, _SEEN)

    def was_spared(self, keys: Iterable[str]) -> set[str]:
        """Those of `keys` that lie below a prefix that this pass spared."""
        return self._among(keys, _SPARED)

    def _among(self, keys: Iterable[str], condition: str) -> set[str]:
        query = f"SELECT key FROM (SELECT value AS key FROM json_each(?)) WHERE {condition}"  # noqa: S608 - ours
        return {key for (key,) in self._db.execute(query, (orjson.dumps(list(keys)).decode(),))}

    def __len__(self) -> int:
        """How many keys the log holds."""
        return self._count("known")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def start_over(self, topic_id: str) -> None:
        """Every key has to be sent again. It is kept, for one that is gone by now has still to be deleted."""
        with self._db:
            self._db.execute("UPDATE known SET fingerprint = x''; DELETE FROM groups; DELETE FROM meta")
            self._set("format", str(_FORMAT))
            self._set("topic", topic_id)
            self._set("owner", self._owner)

    def _refuse_if_replaced(self) -> None:
        # An update, so that the file is locked before it is read.
        self._db.execute("UPDATE meta SET value = value WHERE name = 'owner' AND value = ?", (self._owner,))
        if not self._db.changes():
            raise Refused("the listing of this source was taken over by another process")

    def _count(self, rows: str) -> int:
        counted: Any = self._db.execute(f"SELECT count(*) FROM {rows}").fetchone()  # noqa: S608 - constants of ours
        return int(counted[0])

    def _meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _set(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))


_SPARED = (
    "coalesce((SELECT substr(key, 1, length(prefix)) = prefix FROM spared WHERE prefix <= key"
    " ORDER BY prefix DESC LIMIT 1), 0)"
)
_SEEN = f"key IN (SELECT key FROM seen) OR {_SPARED}"  # noqa: S608 - ours
_UNSEEN = f"SELECT key FROM known WHERE key NOT IN (SELECT key FROM seen) AND NOT {_SPARED}"  # noqa: S608 - ours


def _open(path: Path) -> apsw.Connection:
    """Open the file, or make it anew where it cannot be read: nothing in it is the only copy."""
    try:
        return _connect(path)
    except (apsw.NotADBError, apsw.CorruptError, apsw.SQLError, apsw.CantOpenError):
        for leftover in path.parent.glob(path.name + "*"):
            leftover.unlink()
        return _connect(path)


def _connect(path: Path) -> apsw.Connection:
    db = apsw.Connection(str(path))
    db.setbusytimeout(5000)
    db.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = FILE")
    db.execute(_SCHEMA)
    db.execute("SELECT count(*) FROM meta").fetchall()
    return db
