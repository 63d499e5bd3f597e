"""F1: kill -9 at every fault point, for a stage, for the run, and for all of them."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator

from nvisy.fault_points import Point
from tests.faults.cell import Cell
from tests.faults.matrix import SHAPES, SMALLEST, Row
from tests.faults.orders import Place

VICTIMS = ("kill", "kill_parent", "kill_all")
"""The process that reached the point; the run above it; the run and every stage."""
WHOLE = (SMALLEST, *SHAPES)
OTHER_LOG = ("chain", "kafka", "pgvector")
QUICK_SHARE = 0.25
DOCUMENTS = 24
ROUNDS = 8
"""Edits until a point that an edit reaches now and then is reached."""
ENDING = (Point.STAGE_THROUGH, Point.RELEASE)
"""Points that only a run reaches that comes to its end."""


def play(cell: Cell) -> None:
    """Count first which points there are, then die at each of them."""
    cell.source.fill(DOCUMENTS)
    cell.start()
    cell.rest()
    at_start = cell.orders.reached()
    often = _count(cell)
    for place, do in _plan(cell, sorted(at_start | often)):
        _die(cell, place, do, nth=often.get(place, 0))
    cell.stop()
    for point in ENDING:
        for do in VICTIMS[::2]:
            if _wanted(cell, Place("-", point), do):
                _die_at_the_end(cell, Place("-", point), do)
    cell.finish()


def _count(cell: Cell) -> dict[Place, int]:
    """What rounds of edits reach, and how often one does."""
    cell.orders.forget()
    for _ in range(ROUNDS):
        cell.source.edit()
        cell.rest()
    return {place: max(1, count // ROUNDS) for place, count in cell.orders.reached().items()}


def _plan(cell: Cell, places: list[Place]) -> Iterator[tuple[Place, str]]:
    """What to do where.

    Every graph has one pair on which every victim dies at every place. On the other pairs a place has one victim, and
    only the places are played that differ: all of them on the other log, those of the sink's stage with another store.
    """
    setting = cell.setting
    where = (setting.shape, setting.log, setting.store)
    whole = where in WHOLE
    chance = random.Random(setting.seed)
    for number, place in enumerate(places):
        if place.point in ENDING or not (whole or where == OTHER_LOG or place.stage == "index"):
            continue
        if setting.quick and chance.random() > QUICK_SHARE:
            continue
        for do in VICTIMS if whole and not setting.quick else (VICTIMS[number % 3],):
            if (place.stage != "-" or do != "kill_parent") and _wanted(cell, place, do):
                yield place, do


def _wanted(cell: Cell, place: Place, do: str) -> bool:
    return cell.setting.only in ("", f"{place}/{do}")


def _die(cell: Cell, place: Place, do: str, *, nth: int) -> None:
    """Die at `place`, and come to rest again. `nth` is how often a round of edits reaches it; 0: only a start does."""
    which = random.Random(f"{cell.setting.seed}/{place}/{do}").randint(1, max(1, min(nth, 3)))
    cell.source.rng = random.Random(f"{cell.setting.seed}/{place}/{do}")
    of_run = place.stage == "-"
    if of_run and not nth:
        cell.stop()
        cell.orders.give(place, do, run=0)
        cell.source.edit()
        cell.process = cell.spawn("--follow")
    else:
        cell.orders.give(place, do, run=cell.running.pid, nth=which)
        cell.source.edit()
        if not nth:
            os.kill(cell.orders.pid_of(place.stage), signal.SIGKILL)
    taken = cell.rest_or_taken() if nth else cell.taken(20)
    for _ in range(ROUNDS):
        if taken is None and nth:
            cell.source.edit()
            taken = cell.rest_or_taken()
    if taken is None:
        cell.fail(f"{place} was not reached")
        return
    cell.tally.runs += 1
    if of_run or do != "kill":
        cell.gone(cell.stages())
        cell.start()
    with cell.saying(f"--only {place}/{do}"):
        cell.rest(taken["at"])
        cell.expect(
            cell.running.poll() is None, f"the run did not survive it: exit code {cell.running.poll()}"
        )


def _die_at_the_end(cell: Cell, place: Place, do: str) -> None:
    cell.orders.give(place, do, run=0)
    cell.source.edit()
    cell.ended(cell.spawn(), 60)
    taken = cell.orders.taken
    if taken is None:
        cell.fail(f"{place} was not reached")
        return
    cell.tally.runs += 1
    with cell.saying(f"--only {place}/{do}"):
        cell.run()
        cell.rest(taken["at"])


ROW = Row("F1", "kill -9 at every fault point: a stage, the run, all", play, dup=32, ttr_s=10.0)
