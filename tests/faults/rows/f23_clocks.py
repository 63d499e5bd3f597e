"""F23: clocks are an hour wrong, differ from each other, and are set back and forth in the middle of a run."""

from __future__ import annotations

import time

from tests.faults.cell import Cell
from tests.faults.clock import Clocks
from tests.faults.matrix import EVERY, Row

HOUR_S = 3600
STEPS = ((HOUR_S, HOUR_S), (-HOUR_S, -HOUR_S), (HOUR_S, -HOUR_S), (-HOUR_S, HOUR_S), (0, 0))
"""In seconds, of processes of even number and of the others."""
LEASE_S = 8.0
"""Longer than a lease lasts."""


def play(cell: Cell) -> None:
    """Versions go by the log, waits and leases by a clock that nobody sets: nothing changes, and nothing stops."""
    clocks = Clocks(cell)
    cell.source.fill(24)
    for step in STEPS[:2]:
        cell.tally.runs += 1
        clocks.set(*step)
        cell.source.edit()
        with cell.saying(f"a run whose clock is at {step} s"):
            cell.run()
            cell.judge()
    cell.start()
    cell.rest()
    for step in STEPS:
        with cell.saying(f"set to {step} s"):
            _set_while_it_runs(cell, clocks, step)
    _a_second_one_from_the_future(cell, clocks)
    cell.stop()
    cell.finish()


def _set_while_it_runs(cell: Cell, clocks: Clocks, step: tuple[int, int]) -> None:
    cell.tally.runs += 1
    cell.source.edit()  # under way when the clock is set
    began = time.monotonic()
    clocks.set(*step)
    cell.source.edit()
    cell.rest(began)
    cell.source.edit()
    cell.rest(time.monotonic())
    cell.expect(cell.running.poll() is None, f"the run ended, with exit code {cell.running.poll()}")


def _a_second_one_from_the_future(cell: Cell, clocks: Clocks) -> None:
    """To a clock that is an hour ahead the lease has not been renewed for long: its owner is alive nevertheless."""
    cell.tally.runs += 1
    clocks.set(2 * HOUR_S, 2 * HOUR_S)
    first = cell.running
    if cell.setting.log == "kafka":
        cell.elsewhere()
    code = cell.ended(cell.spawn("--follow"), 60)
    cell.expect(code == 6, f"a second copy with a clock that is ahead: exit code {code}: {cell.said()}")
    time.sleep(LEASE_S)
    cell.source.edit()
    cell.rest(time.monotonic())
    cell.expect(first.poll() is None, f"the first run ended with exit code {first.poll()}")
    clocks.set(0, 0)


ROW = Row("F23", "clocks an hour wrong, set while it runs", play, where=EVERY, dup=0, ttr_s=10.0)
