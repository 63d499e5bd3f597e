"""F8: a second copy of a pipeline, and first copies that were paused and wake up when they have been replaced."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from nvisy.fault_points import Point
from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.orders import Place

PAUSE_S = 8.0
"""Longer than a lease lasts."""
ENDS_S = 30.0
"""How long somebody who was replaced may need to notice."""
WITHOUT_S = 20.0
"""How long a successor is waited for before the one that is paused wakes up."""
SWEEP_S = 60.0
"""How long a store without transactions may keep what a fenced writer left behind."""
WHERE_PAUSED = (
    Place("files", Point.LISTED),
    Place("files", Point.LOG_COMMIT),
    Place("files", Point.COMMITTED),
    Place("split", Point.READ),
    Place("split", Point.MODEL_ANSWERED),
    Place("split", Point.APPENDED),
    Place("split", Point.LOG_OPEN),
    Place("split", Point.LOG_BESIDE),
    Place("split", Point.LOG_COMMIT),
    Place("index", Point.READ),
    Place("index", Point.SINK_CALL),
    Place("index", Point.SINK_PLANNED),
    Place("index", Point.SINK_RECORDS),
    Place("index", Point.SINK_HEADS),
    Place("index", Point.SINK_ANSWERED),
    Place("index", Point.LOG_COMMIT),
)


def play(cell: Cell) -> None:
    """Second copies first, then a pause at every call."""
    cell.source.fill(24)
    cell.start()
    cell.rest()
    if cell.setting.only == "":
        _second_copy(cell)
        _paused_copy(cell)
    for place in WHERE_PAUSED[::5] if cell.setting.quick else WHERE_PAUSED:
        if cell.setting.only in ("", str(place)) and not _missing(cell, place):
            _zombie(cell, place)
    cell.stop()
    cell.finish()


def _missing(cell: Cell, place: Place) -> bool:
    """Whether a cell has no such point."""
    return place.point is Point.LOG_BESIDE and cell.setting.log == "kafka"


def _second_copy(cell: Cell) -> None:
    """It is refused, its owner is named, and the first goes on."""
    cell.tally.runs += 1
    owner = str(cell.running.pid)
    code = cell.ended(cell.spawn("--follow"), 60)
    cell.expect(
        code == 6 and owner in cell.said(), f"a second copy: exit code {code}, and it said: {cell.said()}"
    )
    cell.source.edit()
    cell.rest(time.monotonic())


def _paused_copy(cell: Cell) -> None:
    """All of a run is paused for longer than its lease; on another machine, as it were, somebody takes over."""
    cell.tally.runs += 1
    first = cell.running
    family = [psutil.Process(first.pid), *cell.stages()]
    for process in family:
        process.suspend()
    time.sleep(PAUSE_S)
    cell.source.edit()
    if cell.setting.log == "embedded":
        code = cell.ended(cell.spawn("--follow"), 60)
        cell.expect(code == 6, f"a paused run was not respected: exit code {code}")
        _resume(family)
        cell.rest(time.monotonic())
        return
    cell.elsewhere()
    cell.start()
    cell.rest(time.monotonic())
    before = {name: cell.source.text(name) for name in cell.source.names()}
    _resume(family)
    with cell.saying("paused as a whole"):
        _still_right(cell, time.monotonic(), before)
        _, alive = psutil.wait_procs(family, timeout=ENDS_S * cell.slowness)
        cell.expect(not alive, "the run that was replaced goes on for ever")


def _zombie(cell: Cell, place: Place) -> None:
    """A stage is paused at `place`, its run dies, a new one takes over and goes further, the stage wakes up."""
    cell.tally.runs += 1
    cell.orders.give(place, "stop", run=0)
    cell.source.edit()
    for _ in range(4):
        if (taken := cell.rest_or_taken(20)) is not None:
            break
        cell.source.edit()
    else:
        cell.fail(f"{place} was not reached")
        return
    before = {name: cell.source.text(name) for name in cell.source.names()}
    zombie = psutil.Process(taken["pid"])
    cell.closing(lambda: _ended(zombie))
    others = [one for one in cell.stages() if one.pid != zombie.pid]
    with _pipes_held(zombie), cell.saying(f"paused at {place}"):
        cell.running.kill()
        cell.gone(others)
        since = time.monotonic()
        cell.process = cell.spawn("--follow")
        cell.source.edit()
        # where the paused one holds the lock of a file, its successor waits until it is gone, or is refused
        if cell.rests_within(WITHOUT_S):
            cell.source.edit()
            cell.rest()
        zombie.resume()
        if cell.process.poll() is not None:
            refused = cell.process.returncode == 3 and "locked by another process" in cell.said()
            cell.expect(refused, f"a successor ended with exit code {cell.process.returncode}: {cell.said()}")
            time.sleep(1.0)
            _ended(zombie)
            cell.start()
        _still_right(cell, since, before)
        _ended(zombie)  # one that finds nothing to write may go on


def _still_right(cell: Cell, since: float, before: Mapping[str, str]) -> None:
    """What woke up has changed nothing, and what it believes misleads nobody when documents are as they were."""
    cell.rest(since)
    until = time.monotonic() + 2.0 * cell.slowness
    while time.monotonic() < until:
        time.sleep(0.2)
    cell.rest(timeout_s=SWEEP_S if cell.setting.store == "qdrant" else 0.0)
    for name, text in before.items():
        if name in cell.source.names() and cell.source.text(name) != text:
            cell.source.write(name, text)
    cell.rest()


def _ended(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.kill()


def _resume(family: Iterable[psutil.Process]) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.resume()


@contextmanager
def _pipes_held(process: psutil.Process) -> Iterator[None]:
    """Keep the pipes of a stage open while its run dies: it does not notice, as on a machine that is cut off."""
    descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
    pipes = [one for one in descriptors if str(one.readlink()).startswith("pipe:")]
    held = [os.open(pipe, os.O_RDWR | os.O_NONBLOCK) for pipe in pipes]
    try:
        yield
    finally:
        for descriptor in held:
            os.close(descriptor)


ROW = Row("F8", "a second copy; a paused one that wakes up, at every call", play)
