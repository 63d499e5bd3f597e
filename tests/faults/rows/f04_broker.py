"""F4: the broker is killed and comes back after 30 s; it is restarted in order."""

from __future__ import annotations

import time

from tests.faults.cell import Cell
from tests.faults.matrix import STORES, Row

OUTAGE_S = 30.0
SHORT_S = 5.0
AFTER_S = 30.0
"""How long after the broker is back everything has to be at rest."""


def play(cell: Cell) -> None:
    """The run is followed all the time, and never has to be started again."""
    broker = cell.servers.kafka
    cell.source.fill(24)
    cell.start()
    cell.rest()
    outage_s = OUTAGE_S if cell.setting.store == "sqlite" and not cell.setting.quick else SHORT_S
    for seconds, down in ((outage_s, broker.kill), (SHORT_S, broker.stop)):
        cell.source.edit()
        began = time.monotonic()
        try:
            down()
            cell.source.edit()
            time.sleep(seconds)
        finally:
            broker.start()
        back = time.monotonic()
        cell.source.edit()
        cell.tally.runs += 1
        cell.rest(began)
        after_s = time.monotonic() - back
        cell.expect(
            after_s <= AFTER_S * cell.slowness,
            f"{after_s:.0f} s after the broker was back until it was at rest",
        )
        cell.expect(cell.running.poll() is None, f"the run ended, with exit code {cell.running.poll()}")
    cell.stop()
    cell.finish()


ROW = Row(
    "F4",
    "broker killed, away for 30 s; restarted",
    play,
    where=[("chain", "kafka", store) for store in STORES],
    quick=(),
    alone=True,
)
