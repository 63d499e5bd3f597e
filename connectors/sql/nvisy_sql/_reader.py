"""One reader of a database's changes: the first reading, then the stream, with a position that holds for both."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from nvisy.connector.source import Batch
from nvisy.errors import Fatal, Unreachable
from nvisy.fault_points import Point, reach
from nvisy_sql import _publication as publication
from nvisy_sql import _slot as slots
from nvisy_sql._changes import RowChange, event_of
from nvisy_sql._connect import connect, place_of, translated
from nvisy_sql._decode import Decoder, Place
from nvisy_sql._feed import Feed
from nvisy_sql._lsn import lsn_of, shown
from nvisy_sql._position import Position, TableProgress
from nvisy_sql._publication import Wanted
from nvisy_sql._replication import Replication, System
from nvisy_sql._rows import by_keys, wait_visible
from nvisy_sql._schema import Schemas
from nvisy_sql._snapshot import Keeper, Snapshot
from nvisy_sql._tables import Table

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

BATCH_BYTES = 4 << 20
"""A batch takes in no more once it holds so much."""

_FLUSHED = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a reader has to know.

    Attributes:
        fetches: Read a row by its key where the server left out a large value; else tables have to send old rows whole.
        refuse_truncate: Stop where a table is truncated, instead of taking its documents out.
        n_workers: Connections that the first reading uses side by side.
        ends: Stop at what there was when the reader was opened.
    """

    dsn: str
    slot: str
    publication: str
    tables: tuple[Wanted, ...]
    fetches: bool
    refuse_truncate: bool
    n_workers: int
    ends: bool

    def connected(self) -> Connection:
        """A connection for queries."""
        return connect(self.dsn, f"nvisy {self.slot}")


class ChangeReader:
    """Reads on from a position; made by `open_reader`."""

    def __init__(
        self,
        settings: Settings,
        position: Position,
        tables: Sequence[Table],
        replication: Replication,
        snapshot: Snapshot | None,
        control: Connection,
    ) -> None:
        self._settings = settings
        self._position = position
        self._tables = tables
        self._replication = replication
        self._snapshot = snapshot
        self._control = control
        self._feed: Feed | None = None
        self._place = place_of(settings.dsn)
        self._pending: deque[tuple[RowChange | None, Place]] = deque()
        self._end_lsn = _flushed(control) if settings.ends else None
        self._ended = False
        schemas = Schemas(lambda: self._control)
        self._decoder = Decoder(
            tables,
            Place(position.lsn, position.transaction),
            schemas.described,
            refuse_truncate=settings.refuse_truncate,
        )

    def read(self, limit: int, timeout_s: float) -> Batch:
        """What comes next: rows of the first reading while there are any, then changes."""
        if self._ended:
            return Batch((), self._position.as_json(), complete=True)
        if self._snapshot is not None:
            rows, self._position = self._snapshot.read(self._position, limit, timeout_s)
            if rows:
                reach(Point.FIRST_READ)
            if self._snapshot.done(self._position):
                self._snapshot.close()
                self._snapshot = None
            events = [event_of(row, self._place) for row in rows]
            return Batch(events, self._position.as_json(), complete=self._snapshot is None)
        changes = self._changes(limit, timeout_s)
        if changes:
            reach(Point.STREAMED)
        events = [event_of(change, self._place) for change in self._completed(changes)]
        self._ended = self._reached_end()
        return Batch(events, self._position.as_json(), end=self._ended, complete=True)

    def confirm(self, position: Any) -> None:
        """The server may forget what lies before a position."""
        reach(Point.CONFIRM)
        if self._feed is not None:
            self._feed.confirm(Position.from_json(position).lsn)

    def close(self) -> None:
        """Close everything. May be called twice."""
        if self._snapshot is not None:
            self._snapshot.close()
        if self._feed is not None:
            self._feed.close()
        self._replication.close()
        self._control.close()

    def _changes(self, limit: int, timeout_s: float) -> list[RowChange]:
        feed = self._started()
        until = time.monotonic() + timeout_s
        changes: list[RowChange] = []
        n_bytes = 0
        place = Place(self._position.lsn, self._position.transaction)
        while len(changes) < limit:
            if not self._pending:
                if n_bytes > BATCH_BYTES:
                    break
                wait_s = 0.0 if changes else max(until - time.monotonic(), 0.0)
                messages = self._taken(feed, limit, wait_s)
                if not messages:
                    break
                for message in messages:
                    n_bytes += len(message) if isinstance(message, bytes) else 0
                    self._pending.extend(self._decoder.take(message))
                if not self._pending and time.monotonic() >= until:
                    break
                continue
            change, place = self._pending.popleft()
            if change is not None:
                changes.append(change)
            elif not self._pending and not changes and time.monotonic() >= until:
                break
        self._position = replace(self._position, lsn=place.lsn, transaction=place.transaction)
        return changes

    def _started(self) -> Feed:
        if self._feed is None:
            settings, position = self._settings, self._position
            reach(Point.HANDED_OVER)
            try:
                self._replication.start(settings.slot, settings.publication, position.lsn)
            except (Fatal, Unreachable):
                self._look_for_gap()
                raise
            self._feed = Feed(self._replication, position.lsn)
        return self._feed

    def _taken(self, feed: Feed, most: int, timeout_s: float) -> Sequence[Any]:
        """Messages; where the stream broke off, whether that left a gap is looked up before anything else is said."""
        try:
            return feed.take(most, timeout_s)
        except Unreachable:
            self._look_for_gap()
            raise

    def _look_for_gap(self) -> None:
        """Where the stream breaks off, a gap is more to say than that it did."""
        settings = self._settings
        with settings.connected() as connection:
            slot = slots.when_free(connection, settings.slot)
        slots.check_resumable(slot, settings.slot, self._position.lsn)

    def _completed(self, changes: Sequence[RowChange]) -> list[RowChange]:
        """The changes, with the large values that the server left out; of a row that is gone a delete will come."""
        wanting = [change for change in changes if change.missing]
        if not wanting:
            return list(changes)
        with translated("waiting for transactions to become visible"):
            wait_visible(self._control, {change.xid for change in wanting})
        found: dict[tuple[int, tuple[str, ...]], RowChange] = {}
        for table in {change.table.oid: change.table for change in wanting}.values():
            keys = list(dict.fromkeys(change.key for change in wanting if change.table.oid == table.oid))
            with translated(f"table {table.name}: reading values that the stream left out"):
                rows = by_keys(self._control, table, keys)
            found |= {(table.oid, key): row for key, row in rows.items()}
        completed = []
        for change in changes:
            whole = found.get((change.table.oid, change.key)) if change.missing else change
            if whole is not None:
                completed.append(whole._replace(at_us=change.at_us))
        return completed

    def _reached_end(self) -> bool:
        position = self._position
        return (
            self._end_lsn is not None
            and not self._pending
            and position.transaction is None
            and position.lsn >= self._end_lsn
        )


def open_reader(settings: Settings, stored: Any | None) -> ChangeReader:
    """Connect, make or verify publication and slot, and go on where the last reader stopped.

    Raises:
        Refused: There is a gap, or another reader holds the slot.
        Fatal: The database is not set up for this.
        Unreachable: It does not answer.
    """
    control = settings.connected()
    replication = Replication(settings.dsn, f"nvisy {settings.slot}")
    try:
        system = replication.identify()
        position = None if stored is None else Position.from_json(stored)
        if position is not None:
            _check_same_history(control, settings, position, system)
        tables = publication.ensure(control, settings.publication, settings.tables, full=not settings.fetches)
        exported = ""
        if position is None:
            position, exported = _first(control, replication, settings, system)
        else:
            slot = slots.when_free(control, settings.slot)
            slots.check_resumable(slot, settings.slot, position.lsn)
        position = _with_tables(position, tables, settings.slot)
        snapshot, position = _snapshot(settings, position, tables, exported)
        _say(settings, position, tables)
        return ChangeReader(settings, position, tables, replication, snapshot, control)
    except BaseException:
        replication.close()
        control.close()
        raise


def _first(
    control: Connection, replication: Replication, settings: Settings, system: System
) -> tuple[Position, str]:
    """Where a reader begins that has no position: the slot is made, or one that waits unread is taken up."""
    slot = slots.when_free(control, settings.slot)
    if slot is not None and slot.lost:
        slots.drop(control, settings.slot)
        slot = None
    if slot is not None:
        return Position(system.identifier, system.timeline, settings.slot, slot.confirmed_lsn), ""
    created = replication.create_slot(settings.slot)
    reach(Point.SLOT_MADE)
    return Position(system.identifier, system.timeline, settings.slot, created.lsn), created.snapshot


def _check_same_history(control: Connection, settings: Settings, position: Position, system: System) -> None:
    name = settings.slot
    if position.slot != name:
        raise slots.gap(
            name, f"so far {position.slot} was read, and what lies between the two cannot be told"
        )
    if position.system != system.identifier:
        raise slots.gap(name, "this is another database cluster than the one that was read so far")
    if position.timeline != system.timeline:
        raise slots.gap(
            name,
            f"the server is on timeline {system.timeline}, and was read on {position.timeline}: it failed over, or was "
            "restored",
        )
    if _flushed(control) < position.lsn:
        raise slots.gap(
            name, f"the server has not got as far as {shown(position.lsn)}: an older copy of it was restored"
        )


def _with_tables(position: Position, tables: Sequence[Table], slot: str) -> Position:
    """The position with the tables that the graph names now."""
    progress: dict[str, TableProgress] = {}
    for table in tables:
        name = str(table.name)
        known = position.tables.get(name)
        if known is not None and known.oid != table.oid:
            raise slots.gap(slot, f"table {name} was dropped and made anew")
        progress[name] = known or TableProgress(table.oid)
    return replace(position, tables=progress)


def _snapshot(
    settings: Settings, position: Position, tables: Sequence[Table], exported: str
) -> tuple[Snapshot | None, Position]:
    if all(progress.done for progress in position.tables.values()):
        return None, position
    connection = settings.connected()
    try:
        keeper = Keeper(connection, exported, position.visible)
    except BaseException:
        connection.close()
        raise
    position = replace(position, visible=position.visible or keeper.visible)
    return Snapshot(keeper, settings.connected, tables, settings.n_workers), position


def _flushed(connection: Connection) -> int:
    with translated("looking how far the server got"):
        row = connection.execute(_FLUSHED).fetchone()
    assert row is not None
    return lsn_of(row[0])


def _say(settings: Settings, position: Position, tables: Sequence[Table]) -> None:
    partial = [str(table.name) for table in tables if table.identity != "f"]
    toast = (
        f"; large values that an update leaves alone are read by key in {', '.join(partial)}"
        if partial
        else ""
    )
    _log.info("replication slot %s is read from %s on%s", settings.slot, shown(position.lsn), toast)
