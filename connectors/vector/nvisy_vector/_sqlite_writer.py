"""Writes record sets into an SQLite file: one transaction for a batch, its deletes, heads and fence."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from nvisy.connector.sink import Outcome, Record, RecordSet
from nvisy.errors import Rejected
from nvisy.fault_points import Point, reach
from nvisy_vector._layout import encode_ids, heads_name, observed_at
from nvisy_vector._owner import Marker, adopted, fenced, gone
from nvisy_vector._plan import Head, Key, Step, plan, plan_anew
from nvisy_vector._screen import fault_in, key_fault, narrowed, storable
from nvisy_vector._sqlite_file import RECORD_COLUMNS, transaction, translated
from nvisy_vector._sqlite_sweep import sweep

if TYPE_CHECKING:
    import apsw

_PAYLOAD = tuple(name for name in RECORD_COLUMNS if name not in {"id", "embedding"})
_READ_FENCE = "SELECT token, log FROM nvisy_collections WHERE physical = ? AND collection_id = ?"
_TAKE_OVER = "UPDATE nvisy_collections SET token = ? WHERE physical = ? AND collection_id = ?"


class SqliteWriter:
    """An open collection; another process that writes the same file waits for its transactions."""

    def __init__(
        self, connection: apsw.Connection, path: Path, marker: Marker, token: int, where: str
    ) -> None:
        self._connection = connection
        self._path = path
        self._where = where
        self._dimensions = marker.owner.dimensions
        self._token = token
        self._log = marker.owner.log
        self._fence = (marker.physical, marker.collection_id)
        self._table = marker.physical
        records, heads = marker.physical, heads_name(marker.physical)
        self._read_head = f'SELECT lane, key, version, digest, ids FROM "{heads}" WHERE key = ? AND lane = ?'
        self._read_version = f'SELECT version FROM "{heads}" WHERE key = ? AND lane = ?'
        lanes = f'SELECT lane FROM "{heads}" UNION SELECT lane FROM "{records}"'
        self._read_lanes = f"SELECT lane FROM ({lanes}) WHERE lane IS NOT NULL"
        self._put_head = f'INSERT OR REPLACE INTO "{heads}" VALUES (?, ?, ?, ?, ?, ?, ?, ?)'
        self._bump_head = f'UPDATE "{heads}" SET version = ? WHERE key = ? AND lane = ?'
        self._put_record = _upsert(records)
        self._put_payload = f'UPDATE "{records}" SET {_assignments(_PAYLOAD, "?")} WHERE id = ?'
        others = "id NOT IN (SELECT value FROM json_each(?))"
        self._remove = f'DELETE FROM "{records}" WHERE key = ? AND lane = ? AND {others}'
        self._remove_ids = f'DELETE FROM "{records}" WHERE id IN (SELECT value FROM json_each(?))'
        with translated(path, where), transaction(connection):
            self._check_fence()
            connection.execute(_TAKE_OVER, (token, *self._fence))
        reach(Point.SINK_OPENED)

    def apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Make the collection hold these sets: see `nvisy.connector.sink.Writer`."""
        return narrowed(sets, self._apply)

    def rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Write these sets whole: see `nvisy.connector.sink.Writer`."""
        return narrowed(sets, self._rewrite)

    def remove(self, ids: Collection[str]) -> int:
        """Take out records by their ids: see `nvisy.connector.sink.Writer`."""
        with translated(self._path, self._where), transaction(self._connection):
            self._check_fence()
            self._connection.execute(self._remove_ids, (orjson.dumps(list(ids)).decode(),))
            return self._connection.changes()

    def head(self, lane: str, key: str) -> int | None:
        """Version of the head of this key: see `nvisy.connector.sink.Writer`."""
        if not storable(key, nul=True):
            return None
        with translated(self._path, self._where):
            row = self._connection.execute(self._read_version, (key, lane)).fetchone()
        return row[0] if row else None

    def lanes(self) -> Collection[str]:
        """Every lane that has a head or a record: see `nvisy.connector.sink.Writer`."""
        with translated(self._path, self._where):
            return [lane for (lane,) in self._connection.execute(self._read_lanes)]

    def sweep(self, lane: str, below: int) -> int:
        """Forget what nothing has confirmed since a version: see `nvisy.connector.sink.Writer`."""
        with translated(self._path, self._where):
            return sweep(self._connection, self._table, lane, below, self._check_fence)

    def scrub(self) -> str:
        """Write the file anew: see `nvisy.connector.sink.Scrubs`."""
        with translated(self._path, self._where):
            self._connection.execute("VACUUM")
            busy: Any = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]
        others = f"another process reads {self._path.name}, whose write-ahead log may hold it until that ends"
        return f"{others}: do it again then" if busy else ""

    def settle(self) -> None:
        """Nothing to build: a search reads all records."""

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        with translated(self._path, self._where), transaction(self._connection):
            self._check_fence()
            return self._write(plan(sets, self._heads(sets), self._fault))

    def _rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        with translated(self._path, self._where), transaction(self._connection):
            self._check_fence()
            return self._write(plan_anew(sets, self._fault))

    def _check_fence(self) -> None:
        row = self._connection.execute(_READ_FENCE, self._fence).fetchone()
        if row is None:
            raise gone(self._where)
        if row[1] != self._log:
            raise adopted(self._where, row[1])
        if row[0] > self._token:
            raise fenced(self._where, self._token, row[0])

    def _heads(self, sets: Sequence[RecordSet]) -> dict[Key, Head]:
        keys = ((s.key, s.lane) for s in sets if key_fault(s, nul=True) is None)
        rows = self._connection.executemany(self._read_head, keys)
        return {(lane, key): Head(version, digest, ids) for lane, key, version, digest, ids in rows}

    def _fault(self, record_set: RecordSet, records: Sequence[Record]) -> Rejected | None:
        return key_fault(record_set, nul=True) or fault_in(record_set, records, self._dimensions, nul=True)

    def _write(self, steps: Sequence[Step]) -> list[Outcome]:
        """Write what the steps say, statement by statement; the transaction makes their order invisible."""
        reach(Point.SINK_PLANNED)
        run = self._connection.executemany
        changed = [step for step in steps if step.state == "changed"]
        run(self._put_record, (row for step in changed for row in _rows(step.record_set, step.vectors)))
        payloads = (row for step in changed for row in _rows(step.record_set, step.payloads))
        run(self._put_payload, ((*row[2:], row[0]) for row in payloads))
        reach(Point.SINK_RECORDS)
        run(self._put_head, (_head(step.record_set) for step in changed))
        bumped = (s.record_set for s in steps if s.state == "same" and s.stale_head)
        run(self._bump_head, ((s.version, s.key, s.lane) for s in bumped))
        reach(Point.SINK_HEADS)
        return [step.outcome(self._removed(step) if step.state == "changed" else 0) for step in steps]

    def _removed(self, step: Step) -> int:
        kept = orjson.dumps([record.id for record in step.record_set.records]).decode()
        self._connection.execute(self._remove, (step.record_set.key, step.record_set.lane, kept))
        return self._connection.changes()


def _rows(record_set: RecordSet, records: Iterable[Record]) -> Iterable[tuple[Any, ...]]:
    seen = observed_at(record_set)
    for record in records:
        start, end = record.span if record.span else (None, None)
        yield (
            record.id,
            record.vector.astype("<f4", copy=False).tobytes(),
            record.text,
            record_set.key,
            record.source_uri,
            start,
            end,
            orjson.dumps(dict(record.metadata)).decode(),
            record_set.lane,
            record_set.source,
            record_set.version,
            record.content_hash,
            record.steps,
            record.model,
            record_set.run,
            seen,
            record_set.topic,
            record_set.partition,
        )


def _head(record_set: RecordSet) -> tuple[Any, ...]:
    s = record_set
    return s.lane, s.key, s.source, s.version, s.digest, encode_ids(s), s.partition, observed_at(s)


def _upsert(table: str) -> str:
    columns = ", ".join(f'"{name}"' for name in RECORD_COLUMNS)
    marks = ", ".join("?" for _ in RECORD_COLUMNS)
    assignments = ", ".join(f'"{name}" = excluded."{name}"' for name in RECORD_COLUMNS[1:])
    return f'INSERT INTO "{table}" ({columns}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {assignments}'


def _assignments(names: Iterable[str], value: str) -> str:
    return ", ".join(f'"{name}" = {value}' for name in names)
