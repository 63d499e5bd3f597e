"""One topic in one SQLite file.

A record's row number is its partition in the high bits and its offset in the low ones, so a partition is one
run of the table in offset order. Offsets are counted in `part`, never derived from rows: none is used twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import apsw

from nvisy.errors import Refused, UsageError
from nvisy.topics.embedded import seat_rows
from nvisy.topics.embedded.headers import pack, unpack
from nvisy.topics.embedded.sqlite import close, connect, immediate, rows, said_plainly
from nvisy.topics.log import Append, LogRecord, TopicInfo

FORMAT = 1
PAGE_ROWS = 1_000
PAGE_BYTES = 4 * 1024 * 1024

OFFSET_BITS = 40
_SCHEMA = """
CREATE TABLE meta (format INTEGER NOT NULL, id TEXT NOT NULL, partitions INTEGER NOT NULL);
CREATE TABLE part (partition INTEGER PRIMARY KEY, next INTEGER NOT NULL);
CREATE TABLE record (
    row INTEGER PRIMARY KEY, timestamp_ms INTEGER NOT NULL, key BLOB, headers BLOB, value BLOB);
"""


class Page(NamedTuple):
    """Some records of a partition, and where to go on: past gaps too, when the page ends the partition."""

    records: list[LogRecord]
    next: int
    ended: bool


class TopicFile:
    """An open topic. Not to be shared between threads.

    Attributes:
        name: Name of the topic.
        path: Its file.
        id: Its id, another one when it is deleted and made anew.
        partitions: How many it has.
        db: The connection.
    """

    def __init__(self, path: Path, db: apsw.Connection, topic_id: str, partitions: int) -> None:
        self.name = path.stem
        self.path = path
        self.db = db
        self.id = topic_id
        self.partitions = partitions
        self._inode = path.stat().st_ino

    @classmethod
    def open(cls, path: Path) -> TopicFile | None:
        """The topic at `path`, None where there is none, or none yet.

        Raises:
            Refused: It was written by a version that we do not know.
        """
        if not path.exists():
            return None
        with said_plainly(path):
            db = connect(path)
            if not db.table_exists(None, "meta"):
                close(db)
                return None
            found, topic_id, partitions = rows(db, "SELECT * FROM meta")[0]
        if found != FORMAT:
            close(db)
            raise Refused(
                f"{path} has format {found}, this version of nvisy reads format {FORMAT}: upgrade nvisy"
            )
        return cls(path, db, topic_id, partitions)

    @classmethod
    def create(cls, path: Path, partitions: int) -> None:
        """Make the topic, unless it is there."""
        with said_plainly(path):
            db = connect(path, create=True)
            try:
                with immediate(db):
                    if not db.table_exists(None, "meta"):
                        db.execute(_SCHEMA + seat_rows.SCHEMA)
                        db.execute(
                            "INSERT INTO meta VALUES (?, ?, ?)", (FORMAT, uuid.uuid4().hex, partitions)
                        )
                        db.executemany("INSERT INTO part VALUES (?, 0)", ((p,) for p in range(partitions)))
            finally:
                close(db)

    def close(self) -> None:
        """Let go of the file."""
        close(self.db)

    def replaced(self) -> bool:
        """Whether the topic was deleted, or deleted and made anew, since it was opened."""
        try:
            return self.path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def refuse_if_replaced(self) -> None:
        """Raise `Refused` when what we hold open is no longer the topic."""
        if self.replaced():
            raise Refused(
                f"topic {self.name!r} was deleted or made anew while it was in use: start the run again"
            )

    def version(self) -> int:
        """Changes when another connection has committed to the file; takes microseconds."""
        return int(self.db.pragma("data_version"))

    def ends(self) -> dict[int, int]:
        """Offset after the last record, by partition."""
        return dict(self.db.execute("SELECT partition, next FROM part"))

    def info(self) -> TopicInfo:
        """The topic as it is now."""
        ends = self.ends()
        return TopicInfo(self.name, self.id, self.partitions, dict.fromkeys(ends, 0), ends)

    def page(self, partition: int, offset: int, limit: int = PAGE_ROWS, end: int | None = None) -> Page:
        """At most `limit` records of a partition from `offset` to below `end`, about 4 MiB of them.

        The end of the partition is read first: what was committed below it is seen by the query that follows.
        """
        if end is None:
            end = int(rows(self.db, "SELECT next FROM part WHERE partition = ?", (partition,))[0][0])
        base = partition << OFFSET_BITS
        limit = min(limit, PAGE_ROWS)
        found = self.db.execute(
            "SELECT row, key, value, headers, timestamp_ms FROM record"
            " WHERE row >= ? AND row < ? ORDER BY row LIMIT ?",
            (base + offset, base + end, limit),
        )
        name, records, room = self.name, [], PAGE_BYTES
        for row, key, value, headers, timestamp_ms in found:
            packed = unpack(headers) if headers is not None else ()
            records.append(LogRecord(name, partition, row - base, key, value, packed, timestamp_ms))
            room -= len(value) if value is not None else 0
            if room <= 0:
                break
        found.close(True)
        if room > 0 and len(records) < limit:
            return Page(records, max(offset, end), ended=True)
        return Page(records, records[-1].offset + 1, ended=False)

    def scan(self, start: Mapping[int, int]) -> Iterator[LogRecord]:
        """Every record from `start` to the end as it is now, by partition, in short transactions."""
        for partition, end in sorted(self.ends().items()):
            offset, ended = start.get(partition, 0), False
            while not ended and offset < end:
                with said_plainly(self.path):
                    records, offset, ended = self.page(partition, offset, end=end)
                yield from records

    def insert(self, records: Sequence[Append]) -> None:
        """Append records; the caller holds the transaction."""
        now_ms = time.time_ns() // 1_000_000
        nexts = self.ends()
        inserts = []
        for _, partition, key, value, headers in records:
            offset = nexts[partition]
            nexts[partition] = offset + 1
            inserts.append(((partition << OFFSET_BITS) + offset, now_ms, key, pack(headers), value))
        self.db.executemany("INSERT INTO record VALUES (?, ?, ?, ?, ?)", inserts)
        touched = {record.partition for record in records}
        self.db.executemany("UPDATE part SET next = ? WHERE partition = ?", ((nexts[p], p) for p in touched))

    def expire(self, before_ms: int, most: int) -> int:
        """Remove what was written before a time, and all but the last records of each partition; how many went."""
        n_before = self.db.total_changes()
        with immediate(self.db):
            self.refuse_if_replaced()
            for partition, end in self.ends().items():
                base = partition << OFFSET_BITS
                self.db.execute(
                    "DELETE FROM record WHERE row >= ? AND row < ? AND (row < ? OR timestamp_ms < ?)",
                    (base, base + end, base + max(0, end - most), before_ms),
                )
        return self.db.total_changes() - n_before

    def check_partition(self, partition: int) -> None:
        """Raise `UsageError` for a partition the topic does not have."""
        if not 0 <= partition < self.partitions:
            raise UsageError(
                f"topic {self.name!r} has partitions 0 to {self.partitions - 1}, not {partition}"
            )
