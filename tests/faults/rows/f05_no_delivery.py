"""F5: records are handed to the log and never arrive, since the broker hangs: everybody is told."""

from __future__ import annotations

import json
import os
import signal
import time

from nvisy.fault_points import Point
from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.orders import Place

PLACES = (
    Place("files", Point.APPEND),
    Place("split", Point.APPENDED),
    Place("split", Point.LOG_COMMIT),
    Place("index", Point.COMMIT),
)
TOLD_S = 75.0
"""The log's own time for a commit, and what is needed to give up."""


def play(cell: Cell) -> None:
    """A run that is bounded ends, says why, and says so with its exit code; the next one finds everything."""
    cell.source.fill(24)
    cell.run()
    cell.judge()
    for place in PLACES[1:3] if cell.setting.quick else PLACES:
        cell.source.edit()
        cell.orders.give(place, "sleep", run=0, seconds=1.0)
        process = cell.spawn()
        if cell.taken(60) is None:
            cell.fail(f"{place} was not reached")
        cell.tally.runs += 1
        broker = json.loads((cell.servers.kafka.folder / "pid.json").read_text())["pid"]
        os.kill(broker, signal.SIGSTOP)
        began = time.monotonic()
        try:
            code = cell.ended(process, TOLD_S)
        finally:
            os.kill(broker, signal.SIGCONT)
        told = code == 3 and cell.servers.kafka.bootstrap in cell.said()
        cell.expect(told, f"at {place}: exit code {code}, and it said: {cell.said()}")
        cell.note(f"told within {time.monotonic() - began:.0f} s")
        cell.run()
        cell.judge()
    cell.finish()


ROW = Row(
    "F5",
    "the broker takes records and confirms none",
    play,
    where=[("chain", "kafka", "sqlite")],
    quick=(),
    alone=True,
)
