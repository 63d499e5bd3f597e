"""The first reading: every row there was when the slot was made, in parts, from where the last reader stopped.

All parts read one snapshot of the database, the slot's own while it lives. A reader that goes on after a crash takes a
later one: whatever was changed between the two comes by the stream as well, so that the end is the same.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from nvisy.errors import Unreachable
from nvisy_sql._changes import RowChange
from nvisy_sql._connect import translated
from nvisy_sql._position import Lane, Position, TableProgress
from nvisy_sql._rows import Pages
from nvisy_sql._tables import Table, quoted

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

WORTH_SPLITTING = 20_000
"""Rows of a table below which one worker reads it."""
PATIENCE_S = 60.0

_log = logging.getLogger(__name__)
_IDS = 2**32
"""Transactions are numbered round and round."""
_RUNNING = """
SELECT transactionid::text::bigint FROM pg_locks
WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted AND pid <> pg_backend_pid()"""
_BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

Page = tuple[int, list[RowChange], bool]


class Keeper:
    """Holds the snapshot open that all parts read."""

    def __init__(self, connection: Connection, exported: str, visible: str) -> None:
        """Takes up the slot's snapshot, or a new one that sees at least what `visible` sees."""
        self.connection = connection
        with translated("the first reading"):
            if not exported:
                _wait_for_commits(connection, visible)
            connection.execute(_BEGIN)
            if exported:
                connection.execute(f"SET TRANSACTION SNAPSHOT '{exported}'".encode())
            row = connection.execute("SELECT pg_current_snapshot()::text, pg_export_snapshot()").fetchone()
        assert row is not None
        self.visible: str = row[0]
        self.name: str = row[1]

    def close(self) -> None:
        """Let go of the snapshot."""
        self.connection.close()


def _wait_for_commits(connection: Connection, visible: str) -> None:
    """A commit may stand in the log and be invisible for a while: wait until nothing is that has to be seen.

    Has to be seen what the snapshot `visible` sees; without one, whatever is running now.
    """
    until = time.monotonic() + PATIENCE_S
    waiting = _unseen(connection, visible)
    while waiting:
        if time.monotonic() > until:
            raise Unreachable(
                f"the first reading waits for transaction {min(waiting)}, which has been open since before the "
                "replication slot was made: end it, or wait"
            )
        time.sleep(0.1)
        waiting &= _unseen(connection, visible)


def _unseen(connection: Connection, visible: str) -> set[int]:
    """Transactions that are running, and that `visible` sees."""
    running = {xid for (xid,) in connection.execute(_RUNNING)}
    if not visible:
        return running
    _, xmax, open_then = visible.split(":")
    unseen_then = {int(xid) % _IDS for xid in filter(None, open_then.split(","))}
    return {xid for xid in running - unseen_then if (int(xmax) - xid) % _IDS in range(1, _IDS // 2)}


class Snapshot:
    """Reads what `position` says is still to be read, table by table, each in parts side by side."""

    def __init__(
        self, keeper: Keeper, connected: Callable[[], Connection], tables: Sequence[Table], n_workers: int
    ) -> None:
        """Reads on connections that `connected` opens."""
        self._keeper = keeper
        self._connected = connected
        self._tables = deque(tables)
        self._n_workers = n_workers
        self._parts: _Parts | None = None
        self._ready: deque[RowChange] = deque()
        self._at = 0
        self._last = False

    def read(self, position: Position, limit: int, timeout_s: float) -> tuple[list[RowChange], Position]:
        """Up to `limit` rows and the position after them; no rows where none came in time, or none are left."""
        if not self._ready:
            position = self._next_page(position, timeout_s)
        rows = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
        if rows:
            position = self._moved(position, rows[-1])
        return rows, position

    def done(self, position: Position) -> bool:
        """Nothing is left to read."""
        return not self._ready and all(position.tables[str(table.name)].done for table in self._tables)

    def close(self) -> None:
        """End the workers. May be called twice."""
        if self._parts is not None:
            self._parts.close()
        self._keeper.close()

    def _next_page(self, position: Position, timeout_s: float) -> Position:
        while self._tables and position.tables[str(self._tables[0].name)].done:
            self._tables.popleft()
            if self._parts is not None:
                self._parts.close()
                self._parts = None
        if not self._tables:
            return position
        table = self._tables[0]
        progress = position.tables[str(table.name)]
        if progress.lanes is None:
            with translated(f"table {table.name}"):
                progress = TableProgress(
                    progress.oid, _lanes(self._keeper.connection, table, self._n_workers)
                )
            position = position.with_table(str(table.name), progress)
        assert progress.lanes is not None
        if self._parts is None:
            self._parts = _Parts(table, progress.lanes, self._connected, self._keeper.name, self._n_workers)
        page = self._parts.take(timeout_s)
        if page is None:
            return position
        self._at, rows, self._last = page
        self._ready.extend(rows)
        return position if rows else self._moved(position, None)

    def _moved(self, position: Position, row: RowChange | None) -> Position:
        name = str(self._tables[0].name)
        progress = position.tables[name]
        assert progress.lanes is not None
        lanes = list(progress.lanes)
        lane = lanes[self._at]
        after = lane.after if row is None else row.key
        lanes[self._at] = Lane(lane.low, lane.high, after, done=self._last and not self._ready)
        return position.with_table(name, TableProgress(progress.oid, tuple(lanes)))


class _Parts:
    """The workers of one table: threads that read its lanes and put pages into a short queue."""

    def __init__(
        self,
        table: Table,
        lanes: Sequence[Lane],
        connected: Callable[[], Connection],
        snapshot: str,
        n_workers: int,
    ) -> None:
        self._table = table
        self._lanes = lanes
        self._connected = connected
        self._snapshot = snapshot
        self._tasks: queue.SimpleQueue[int] = queue.SimpleQueue()
        todo = [at for at, lane in enumerate(lanes) if not lane.done]
        for at in todo:
            self._tasks.put(at)
        self._pages: queue.Queue[Page | BaseException] = queue.Queue(maxsize=2)
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, name=f"reading {table.name}", daemon=True)
            for _ in range(min(n_workers, len(todo)))
        ]
        for thread in self._threads:
            thread.start()

    def take(self, timeout_s: float) -> Page | None:
        """The next page: its lane, its rows, whether it is the last of its lane. Raises what a worker died of."""
        try:
            page = self._pages.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(page, BaseException):
            raise page
        return page

    def close(self) -> None:
        """End the workers."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        try:
            with (
                self._connected() as connection,
                translated(f"the first reading of table {self._table.name}"),
            ):
                connection.execute(_BEGIN)
                connection.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'".encode())
                while not self._stopping.is_set():
                    try:
                        at = self._tasks.get_nowait()
                    except queue.Empty:
                        return
                    self._read(connection, at)
        except BaseException as error:
            self._put(error)

    def _read(self, connection: Connection, at: int) -> None:
        lane = self._lanes[at]
        for rows, last in Pages(self._table, lane.low, lane.high).after(connection, lane.after):
            if not self._put((at, rows, last)):
                return

    def _put(self, page: Page | BaseException) -> bool:
        while not self._stopping.is_set():
            try:
                self._pages.put(page, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def _lanes(connection: Connection, table: Table, n_lanes: int) -> tuple[Lane, ...]:
    """A table in parts of about equal size, by its first key column; one part where it is small."""
    name, column = table.name.quoted, quoted(table.key[0])
    some = f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT {WORTH_SPLITTING}) AS first"  # noqa: S608 - quoted
    counted = connection.execute(some.encode()).fetchone()
    if n_lanes == 1 or counted is None or counted[0] < WORTH_SPLITTING:
        return (Lane(),)
    shares = ", ".join(str(part / n_lanes) for part in range(1, n_lanes))
    sample = (
        f"SELECT (percentile_disc(ARRAY[{shares}]) WITHIN GROUP (ORDER BY {column}))::text[] "  # noqa: S608 - quoted
        f"FROM (SELECT {column} FROM {name} TABLESAMPLE SYSTEM ({_share(connection, table):.6f})) AS sampled"
    )
    row = connection.execute(sample.encode()).fetchone()
    bounds = list(dict.fromkeys(row[0] or ())) if row else []
    return tuple(Lane(low, high) for low, high in pairwise([None, *bounds, None]))


def _share(connection: Connection, table: Table) -> float:
    """Percent of a table that is some 20,000 rows, as far as the server knows how many it has."""
    row = connection.execute("SELECT reltuples FROM pg_class WHERE oid = %s", (table.oid,)).fetchone()
    n_rows = row[0] if row else -1
    return float(min(100.0, 100 * WORTH_SPLITTING / n_rows)) if n_rows > 0 else 5.0
