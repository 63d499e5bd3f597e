"""F19: rows change while they are read for the first time, and the reader is killed in the middle, again and again."""

from __future__ import annotations

import signal
import time

from nvisy.fault_points import Point
from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.orders import Place
from tests.faults.tables import tables

ROWS, QUICK_ROWS = 20_000, 2_000
KILLS = (
    (Point.SLOT_MADE, 1),
    (Point.FIRST_READ, 2),
    (Point.FIRST_READ, 2),
    (Point.HANDED_OVER, 1),
    (Point.STREAMED, 1),
)


def play(cell: Cell) -> None:
    """Each life of the run is killed at the next place; the last one is not."""
    rows = QUICK_ROWS if cell.setting.quick else ROWS
    with tables(cell) as table:
        table.fill(rows)
        for point, nth in KILLS[1::2] if cell.setting.quick else KILLS:
            cell.orders.give(Place("rows", point), "kill_all", run=0, nth=nth)
            process = cell.spawn("--follow")
            until = time.monotonic() + 120 * cell.slowness
            while process.poll() is None and time.monotonic() < until:
                table.change(5, highest=rows)
                time.sleep(0.02)
            cell.expect(
                process.poll() == -signal.SIGKILL,
                f"it was not killed at {point.name}, time {nth}: exit code {process.poll()}: {cell.said()}",
            )
            cell.tally.runs += 1
        began = time.monotonic()
        cell.orders.withdraw()
        cell.start()
        table.rest(began)
        cell.stop()
        table.finish()


ROW = Row(
    "F19",
    "rows change during their first reading, and the reader is killed",
    play,
    where=(("chain", "embedded", "sqlite"), ("chain", "kafka", "pgvector")),
)
