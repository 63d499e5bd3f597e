"""What the log and an index say, brought together by key on disk: memory stays flat, however much there is.

Rows are appended as they come, from both sides, and then read once in the order of their keys. SQLite sorts them, in
files of its own where they are more than its cache holds. What differs at first sight is kept aside, to be looked at
again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from nvisy.errors import Fatal

CACHE_KB = 16_384
MAX_WAITING = 2_000

EXPECTED, HEAD, RECORD = 0, 1, 2

_SCHEMA = """
CREATE TABLE said (key TEXT NOT NULL, lane INTEGER NOT NULL, side INTEGER NOT NULL, value BLOB NOT NULL);
CREATE TABLE suspect (key TEXT, lane INTEGER, value BLOB, PRIMARY KEY (key, lane)) WITHOUT ROWID;
CREATE TABLE wrong (topic TEXT, partition INTEGER, offset INTEGER, key TEXT, lane INTEGER, value BLOB,
  PRIMARY KEY (topic, partition, offset, key, lane)) WITHOUT ROWID;
"""

NOWHERE, UNKNOWN = ("", 0, 0), ("", 0, -1)
"""Instead of a place in the log: the index should hold nothing of a key; what it should hold is not known."""

Place = tuple[str, int]
"""Key, and number of the lane."""


class Said(NamedTuple):
    """Everything that was said of one key of one lane: by the log, by the heads, by the records."""

    place: Place
    expected: list[bytes]
    heads: list[bytes]
    records: list[bytes]


class Ledger:
    """A file in a folder of its own, gone when it is closed."""

    def __init__(self, folder: Path) -> None:
        """Make the file, in a folder that is made if need be.

        Raises:
            Fatal: It cannot be written there.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(prefix="verify-", dir=folder)
        except OSError as error:
            raise Fatal(
                f"{folder} cannot be written ({error.strerror}), and what is compared is sorted there: let NVISY_STATE"
                " name a folder of your own"
            ) from error
        self._db = apsw.Connection(str(Path(self._folder.name) / "ledger.db"))
        # Nothing in it outlives the process: no journal, no waiting for the disk.
        for name, value in (("journal_mode", "OFF"), ("synchronous", "OFF"), ("cache_size", -CACHE_KB)):
            self._db.pragma(name, value)
        self._db.pragma("temp_store", 1)
        self._db.execute(_SCHEMA)
        self._waiting: list[tuple[str, int, int, bytes]] = []

    def say(self, side: int, place: Place, value: bytes) -> None:
        """Note what one side says of a key."""
        self._waiting.append((*place, side, value))
        if len(self._waiting) >= MAX_WAITING:
            self._flush()

    def together(self) -> Iterator[Said]:
        """What was said of each key, in the order of keys."""
        self._flush()
        with _room():
            rows = self._db.execute("SELECT key, lane, side, value FROM said ORDER BY key, lane, side, rowid")
        for place, group in groupby(rows, itemgetter(0, 1)):
            sides: tuple[list[bytes], list[bytes], list[bytes]] = ([], [], [])
            for _, _, side, value in group:
                sides[side].append(value)
            yield Said(place, *sides)

    def suspect(self, place: Place, expected: bytes | None) -> None:
        """Keep a key aside, with what the log says of it; that again, when the log says something newer."""
        self._db.execute("INSERT OR REPLACE INTO suspect VALUES (?, ?, ?)", (*place, expected))

    def is_suspect(self, place: Place) -> bool:
        """Whether a key is kept aside."""
        query = "SELECT 1 FROM suspect WHERE key = ? AND lane = ?"
        return self._db.execute(query, place).fetchone() is not None

    def suspects(self, after: Place | None, limit: int) -> list[Place]:
        """Keys that are kept aside, in order."""
        query = "SELECT key, lane FROM suspect WHERE (key, lane) > (?, ?) ORDER BY key, lane LIMIT ?"
        rows: list[Any] = self._db.execute(query, (*(after or ("", -9)), limit)).fetchall()
        return rows

    def expected(self, place: Place) -> bytes | None:
        """What the log says of a key that is kept aside."""
        row: Any = self._db.execute("SELECT value FROM suspect WHERE key = ? AND lane = ?", place).fetchone()
        return None if row is None else row[0]

    def settled(self, places: Sequence[Place]) -> None:
        """These need not be kept aside any more."""
        with self._db:
            self._db.executemany("DELETE FROM suspect WHERE key = ? AND lane = ?", places)

    def wrong(self, place: Place, said_at: tuple[str, int, int], expected: bytes | None) -> None:
        """Note a key that is wrong for certain, and topic, partition and offset where the log says what is right."""
        self._db.execute(
            "INSERT OR REPLACE INTO wrong VALUES (?, ?, ?, ?, ?, ?)", (*said_at, *place, expected)
        )

    def wrong_at(self, said_at: tuple[str, int, int], limit: int, after: Place | None = None) -> list[Place]:
        """Such keys, of which this place in the log says what is right."""
        query = """SELECT key, lane FROM wrong WHERE topic = ? AND partition = ? AND offset = ? AND (key, lane) > (?, ?)
          ORDER BY key, lane LIMIT ?"""
        rows: list[Any] = self._db.execute(query, (*said_at, *(after or ("", -9)), limit)).fetchall()
        return rows

    def wrong_from(self, topic: str) -> dict[int, int]:
        """By partition: the first offset in a topic that says what is right of such a key."""
        query = "SELECT partition, min(offset) FROM wrong WHERE topic = ? GROUP BY partition"
        rows: Any = self._db.execute(query, (topic,))
        return dict(rows)

    def wrong_places(self, topic: str) -> list[tuple[int, int]]:
        """Partition and offset of what a topic says of such keys, in order."""
        query = "SELECT DISTINCT partition, offset FROM wrong WHERE topic = ? ORDER BY partition, offset"
        rows: list[Any] = self._db.execute(query, (topic,)).fetchall()
        return rows

    def suspect_wrongs(self) -> None:
        """Keep everything that was wrong aside again, with what the log says of it, to see whether it still is."""
        self._db.execute("INSERT OR IGNORE INTO suspect SELECT key, lane, value FROM wrong")
        self._db.execute("DELETE FROM wrong")

    @property
    def n_wrong(self) -> int:
        """How many such keys there are."""
        count: Any = self._db.execute("SELECT count(*) FROM wrong").fetchall()[0][0]
        return int(count)

    @property
    def n_suspects(self) -> int:
        """How many are kept aside."""
        count: Any = self._db.execute("SELECT count(*) FROM suspect").fetchall()[0][0]
        return int(count)

    def close(self) -> None:
        """Remove the file. May be called twice."""
        self._db.close()
        self._folder.cleanup()

    def _flush(self) -> None:
        with _room(), self._db:
            self._db.executemany("INSERT INTO said VALUES (?, ?, ?, ?)", self._waiting)
        self._waiting = []


@contextmanager
def _room() -> Iterator[None]:
    """Say what a full disk means."""
    try:
        yield
    except apsw.FullError as error:
        raise Fatal(
            "the disk is full: what is compared is sorted in the state folder and in /var/tmp (or SQLITE_TMPDIR), some"
            " 400 bytes a record in each"
        ) from error
