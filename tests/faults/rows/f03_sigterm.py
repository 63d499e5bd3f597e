"""F3: SIGTERM under load, again and again, as a rolling restart does."""

from __future__ import annotations

import random
import time

from tests.faults.cell import Cell
from tests.faults.matrix import SMALLEST, Row

STOPS = 20
FEWER = 4
"""On the pairs that differ in nothing but the store or the log."""
WHOLE = (SMALLEST, ("chain", "kafka", "pgvector"))


def play(cell: Cell) -> None:
    """Stop in the middle of the work, start again; the model takes its time, so that calls are under way."""
    setting = cell.setting
    whole = (setting.shape, setting.log, setting.store) in WHOLE and not setting.quick
    rng = random.Random(f"{setting.seed}/F3")
    cell.model.latency_s = 0.05
    cell.source.fill(24)
    longest_s = 0.0
    for _ in range(STOPS if whole else FEWER):
        cell.start()
        cell.source.edit(12)
        time.sleep(rng.random() * 0.6)
        longest_s = max(longest_s, cell.stop())
        cell.tally.runs += 1
    began = time.monotonic()
    cell.start()
    cell.rest(began)
    cell.stop()
    cell.finish()
    cell.note(f"longest stop {longest_s:.1f} s")


ROW = Row("F3", "SIGTERM under load", play, dup=0)
