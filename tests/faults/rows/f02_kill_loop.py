"""F2: a stage that is killed again and again, sooner than it commits when it is busy."""

from __future__ import annotations

import shutil
import time

from nvisy.fault_points import Point
from tests.faults.cell import Cell
from tests.faults.logs import letters
from tests.faults.matrix import CHAIN, SHAPES, Row
from tests.faults.orders import Place
from tests.faults.stores import held

COMMIT_S = 0.25
"""How often a busy stage commits."""
LIVES = 10
DOCUMENTS = 160
LIVES_OF_A_RUN = 5
"""After so many a run gives its stage up, and the user starts it again."""
WORKS = Place("split", Point.MODEL_ANSWERED)


def play(cell: Cell) -> None:
    """A load that lasts for some lives, each of which ends 0.15 s after the model has answered it something."""
    cell.model.latency_s = 0.02
    cell.graph["connections"]["model"]["limits"] = {"maxInFlight": 1}
    cell.source.fill(DOCUMENTS)
    done = [0]  # documents that are through after each life
    for life in range(LIVES):
        cell.orders.give(WORKS, "kill_later", run=0, seconds=0.6 * COMMIT_S)
        if life % LIVES_OF_A_RUN == 0:
            if life:
                cell.kill()
            cell.start()
        taken = cell.taken(30)
        if taken is not None:
            cell.tally.runs += 1
            time.sleep(0.6 * COMMIT_S)
        done.append(len(held(cell.store, "index").keys() | letters(cell.topics, cell.name)))
        if done[-1] == DOCUMENTS:
            break
        if taken is None:
            cell.fail(f"life {life + 1} did nothing: {cell.said()}")
    idle = sum(before == after for before, after in zip(done[::2], done[2::2], strict=False))
    cell.expect(not idle, f"{idle} pairs of lives brought nothing forward: {done}")
    cell.kill()
    cell.model.latency_s = 0.0
    began = time.monotonic()
    cell.start()
    if not cell.rests_within(20):
        _bring_back(cell)
    cell.rest(began)
    cell.expect(bool(held(cell.store, "index")), "nothing arrived")
    if cell.setting.log == "kafka":
        _lose_the_disk(cell)
    cell.stop()
    cell.finish()


def _bring_back(cell: Cell) -> None:
    """What was alone in flight when its process ended for the third time is a dead letter: it is written anew."""
    quarantined = sorted(letters(cell.topics, cell.name) - cell.oracle.letters())
    cell.expect(len(quarantined) <= LIVES // LIVES_OF_A_RUN, f"too many were quarantined: {quarantined}")
    for name in quarantined:
        cell.source.write(name, cell.source.document(2))
    cell.note(f"{len(quarantined)} quarantined")


def _lose_the_disk(cell: Cell) -> None:
    """All that a run keeps on its machine goes with it, while calls of the model are under way."""
    cell.model.latency_s = 0.5
    cell.source.edit(12)
    until = time.monotonic() + 30 * cell.slowness
    while not cell.model.in_flight and time.monotonic() < until:
        time.sleep(0.01)
    cell.kill()
    shutil.rmtree(cell.state)
    cell.tally.runs += 1
    cell.model.latency_s = 0.0
    cell.start()
    cell.rest()


ROW = Row("F2", "killed every 0.15 s, sooner than a busy stage commits", play, where=CHAIN + SHAPES, dup=32)
