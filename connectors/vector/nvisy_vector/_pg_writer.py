"""Writes record sets into Postgres: one transaction for a batch, its deletes, heads and fence."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from nvisy.connector.sink import Outcome, Record, RecordSet
from nvisy.errors import Rejected, Transient, Unreachable
from nvisy.fault_points import Point, reach
from nvisy_vector import _pg_rows
from nvisy_vector._layout import encode_ids, heads_name
from nvisy_vector._owner import Marker, adopted, fenced, gone
from nvisy_vector._pg_database import TYPES, translated
from nvisy_vector._pg_sweep import sweep
from nvisy_vector._plan import Head, Key, Step, plan, plan_anew
from nvisy_vector._screen import fault_in, key_fault, narrowed, storable

if TYPE_CHECKING:
    from nvisy_vector._pg_database import Connection

HNSW_FROM_RECORDS = 10_000
"""Below this an exact search takes some milliseconds, and a load that is still to come would pay for an index."""

_OPERATORS = {"cosine": "vector_cosine_ops", "l2": "vector_l2_ops", "dot": "vector_ip_ops"}
_COLUMNS = ", ".join(f'"{name}"' for name in TYPES)
_COPY = f"COPY nvisy_staging ({', '.join(_pg_rows.COLUMNS)}) FROM STDIN (FORMAT BINARY)"
_STAGING = ", ".join(f'"{name}" {kind}' for name, kind in TYPES.items())
_PAYLOAD = [name for name in TYPES if name not in {"id", "embedding"}]
_FENCE = "SELECT token, log FROM nvisy_collections WHERE physical = %s AND collection_id = %s FOR SHARE"
_TAKE_OVER = """UPDATE nvisy_collections SET token = greatest(token, %s)
  WHERE physical = %s AND collection_id = %s RETURNING token, log"""


class PgvectorWriter:
    """An open collection. Connects again by itself after the connection was lost."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        marker: Marker,
        token: int,
        *,
        hnsw: bool,
        place: str,
        where: str,
    ) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._token = token
        self._hnsw = hnsw
        self._where = where
        self._place = place
        self._distance = marker.distance
        self._dimensions = marker.owner.dimensions
        self._log = marker.owner.log
        self._fence = (marker.physical, marker.collection_id)
        self._table = marker.physical
        self._statements = _Statements(marker.physical)
        try:
            with translated(place, where), self._open().transaction():
                self._check_fence(self._open(), _TAKE_OVER, (token, *self._fence))
        except BaseException:
            self.close()
            raise
        reach(Point.SINK_OPENED)

    def apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Make the collection hold these sets: see `nvisy.connector.sink.Writer`."""
        return narrowed(sets, self._apply)

    def rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Write these sets whole: see `nvisy.connector.sink.Writer`."""
        return narrowed(sets, self._rewrite)

    def remove(self, ids: Collection[str]) -> int:
        """Take out records by their ids: see `nvisy.connector.sink.Writer`."""
        with translated(self._place, self._where):
            connection = self._open()
            with connection.transaction():
                self._check_fence(connection)
                return connection.execute(self._statements.remove_ids, ([*map(UUID, ids)],)).rowcount

    def head(self, lane: str, key: str) -> int | None:
        """Version of the head of this key: see `nvisy.connector.sink.Writer`."""
        if not storable(key, nul=False):
            return None
        with translated(self._place, self._where):
            row = self._open().execute(self._statements.version, (lane, key)).fetchone()
        return row[0] if row else None

    def lanes(self) -> Collection[str]:
        """Every lane that has a head or a record: see `nvisy.connector.sink.Writer`."""
        with translated(self._place, self._where):
            return [lane for (lane,) in self._open().execute(self._statements.lanes)]

    def sweep(self, lane: str, below: int) -> int:
        """Forget what nothing has confirmed since a version: see `nvisy.connector.sink.Writer`."""
        with translated(self._place, self._where):
            return sweep(self._open(), self._table, lane, below, self._check_fence)

    def scrub(self) -> str:
        """Free the rows that were deleted, indexes included: see `nvisy.connector.sink.Scrubs`."""
        with translated(self._place, self._where):
            self._open().execute(f'VACUUM "{self._table}", "{heads_name(self._table)}"')
        return (
            "Postgres gives out nothing of it any more; its pages may hold it until they are used again, or until"
            f' VACUUM FULL "{self._table}" is run, which locks the table; its write-ahead log and backups for as long'
            " as they are kept"
        )

    def settle(self) -> None:
        """Build the vector index, once there are enough records to be worth one."""
        from nvisy_vector._pg_hnsw import build  # noqa: PLC0415

        if self._hnsw:
            with translated(self._place, self._where):
                build(self._open(), self._table, _OPERATORS[self._distance], HNSW_FROM_RECORDS)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connected()
            self._connection.execute("SET idle_in_transaction_session_timeout = '5s'")
            # all that a writer does are look-ups, and without statistics of its staging the planner cannot know
            self._connection.execute("SET enable_seqscan = off")
            # a plan for arrays of any length takes them for ten long, and compares thousands with thousands
            self._connection.execute("SET plan_cache_mode = force_custom_plan")
            self._connection.execute(f"CREATE TEMP TABLE nvisy_staging ({_STAGING}) ON COMMIT DELETE ROWS")
        return self._connection

    def _connected(self) -> Connection:
        try:
            return self._connect()
        except Unreachable as error:
            raise Transient(str(error)) from error

    def _check_fence(
        self, connection: Connection, statement: str = _FENCE, values: Sequence[Any] = ()
    ) -> None:
        row = connection.execute(statement, values or self._fence).fetchone()
        if row is None:
            raise gone(self._where)
        token, log = row
        if log != self._log:
            raise adopted(self._where, log)
        if token > self._token:
            raise fenced(self._where, self._token, token)

    def _apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        with translated(self._place, self._where):
            connection = self._open()
            with connection.transaction():
                self._check_fence(connection)
                steps = plan(sets, self._lock_heads(connection, sets), self._fault)
                reach(Point.SINK_PLANNED)
                return self._write(connection, self._put_heads(connection, steps))

    def _rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        with translated(self._place, self._where):
            connection = self._open()
            with connection.transaction():
                self._check_fence(connection)
                steps = plan_anew(sets, self._fault)
                keys = [step.key for step in steps if step.state == "changed"]
                forgotten = ([lane for lane, _ in keys], [key for _, key in keys])
                connection.execute(self._statements.forget_heads, forgotten)
                return self._write(connection, self._put_heads(connection, steps))

    def _fault(self, record_set: RecordSet, records: Sequence[Record]) -> Rejected | None:
        return key_fault(record_set, nul=False) or fault_in(record_set, records, self._dimensions, nul=False)

    def _lock_heads(self, connection: Connection, sets: Sequence[RecordSet]) -> dict[Key, Head]:
        """Read the heads and keep them: the workers of a run share one token, so the fence does not part them."""
        keys = [(s.lane, s.key) for s in sets if key_fault(s, nul=False) is None]
        lanes, names = [lane for lane, _ in keys], [key for _, key in keys]
        rows = connection.execute(self._statements.lock_heads, (lanes, names))
        return {(lane, key): Head(version, digest, ids) for lane, key, version, digest, ids in rows}

    def _put_heads(self, connection: Connection, steps: Sequence[Step]) -> list[Step]:
        """Write the heads; a key that another worker has meanwhile brought further becomes superseded."""
        same = [step.record_set for step in steps if step.state == "same" and step.stale_head]
        if same:
            bumped = ([s.lane for s in same], [s.key for s in same], [s.version for s in same])
            connection.execute(self._statements.bump_heads, bumped)
        changed = [step.record_set for step in steps if step.state == "changed"]
        if not changed:
            return list(steps)
        # As JSON, for the driver takes as long over arrays of texts as over all the rest.
        heads = orjson.dumps([_head(record_set) for record_set in changed]).decode()
        put = set(connection.execute(self._statements.put_heads, (heads,)).fetchall())
        return [
            replace(step, state="superseded") if step.state == "changed" and step.key not in put else step
            for step in steps
        ]

    def _write(self, connection: Connection, steps: Sequence[Step]) -> list[Outcome]:
        changed = [step for step in steps if step.state == "changed"]
        removed: dict[Key, int] = {}
        reach(Point.SINK_HEADS)
        if changed:
            self._copy(connection, changed)
            reach(Point.SINK_RECORDS)
            lanes = [step.record_set.lane for step in changed]
            keys = [step.record_set.key for step in changed]
            kept = " ".join(record.id for step in changed for record in step.record_set.records)
            for key in connection.execute(self._statements.remove, (lanes, keys, kept)):
                removed[key] = removed.get(key, 0) + 1
        return [step.outcome(removed.get(step.key, 0)) for step in steps]

    def _copy(self, connection: Connection, changed: Sequence[Step]) -> None:
        vectors = any(step.vectors for step in changed)
        payloads = any(step.payloads for step in changed)
        if not vectors and not payloads:
            return
        with connection.cursor().copy(_COPY) as copy:
            copy.write(_pg_rows.START)
            for step in changed:
                copy.write(b"".join(_pg_rows.rows(step)))
            copy.write(_pg_rows.END)
        if vectors:
            connection.execute(self._statements.upsert)
        if payloads:
            connection.execute(self._statements.update_payload)


class _Statements:
    """What is said to the server, for one collection."""

    def __init__(self, physical: str) -> None:
        heads = heads_name(physical)
        assignments = ", ".join(f'"{name}" = excluded."{name}"' for name in TYPES if name != "id")
        payload = ", ".join(f'"{name}" = staged."{name}"' for name in _PAYLOAD)
        self.lock_heads = (
            f'SELECT lane, key, version, digest, ids FROM "{heads}" AS head JOIN unnest(%s::text[], %s::text[]) '
            f"AS wanted (lane, key) USING (lane, key) ORDER BY head.key, head.lane FOR UPDATE OF head"
        )
        self.version = f'SELECT version FROM "{heads}" WHERE lane = %s AND key = %s'
        self.lanes = (
            f'SELECT lane FROM (SELECT lane FROM "{heads}" UNION SELECT lane FROM "{physical}") AS lanes '
            f"WHERE lane IS NOT NULL"
        )
        self.bump_heads = (
            f'UPDATE "{heads}" AS head SET version = new.version '
            f"FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS new (lane, key, version) "
            f"WHERE head.lane = new.lane AND head.key = new.key AND head.version < new.version"
        )
        self.put_heads = (
            f'INSERT INTO "{heads}" AS head (lane, key, source, version, digest, ids, partition, observed_at) '
            f"SELECT * FROM json_to_recordset(%s::json) AS new (lane text, key text, source text, version bigint, "
            f'digest text, ids text, partition int, observed_at timestamptz) ORDER BY key COLLATE "C", lane '
            f"ON CONFLICT (key, lane) DO UPDATE SET source = excluded.source, version = excluded.version, "
            f"digest = excluded.digest, ids = excluded.ids, partition = excluded.partition, "
            f"observed_at = excluded.observed_at WHERE head.version <= excluded.version RETURNING lane, key"
        )
        self.forget_heads = (
            f'DELETE FROM "{heads}" AS head USING unnest(%s::text[], %s::text[]) AS old (lane, key) '
            f"WHERE head.lane = old.lane AND head.key = old.key"
        )
        self.remove_ids = f'DELETE FROM "{physical}" WHERE id = ANY(%s::uuid[])'
        self.upsert = (
            f'INSERT INTO "{physical}" ({_COLUMNS}) SELECT {_COLUMNS} FROM nvisy_staging '
            f"WHERE embedding IS NOT NULL ON CONFLICT (id) DO UPDATE SET {assignments}"
        )
        self.update_payload = (
            f'UPDATE "{physical}" AS record SET {payload} FROM nvisy_staging AS staged '
            f"WHERE staged.embedding IS NULL AND record.id = staged.id"
        )
        self.remove = (
            f'DELETE FROM "{physical}" AS record USING unnest(%s::text[], %s::text[]) AS changed (lane, key) '
            f"WHERE record.lane = changed.lane AND record.key = changed.key "
            f"AND NOT EXISTS (SELECT 1 FROM unnest(string_to_array(%s, ' ')::uuid[]) AS kept (id) "
            f"WHERE kept.id = record.id) "
            f"RETURNING record.lane, record.key"
        )


def _head(s: RecordSet) -> dict[str, Any]:
    return {
        "lane": s.lane,
        "key": s.key,
        "source": s.source,
        "version": s.version,
        "digest": s.digest,
        "ids": encode_ids(s),
        "partition": s.partition,
        "observed_at": _observed_at(s),
    }


def _observed_at(record_set: RecordSet) -> datetime | None:
    micros = record_set.observed_at_us
    if not micros:
        return None
    seconds, rest = divmod(micros, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)
