"""What a process under test does when it reaches a fault point: it writes that down, and obeys the order that waits.

Named by `NVISY_FAULT_POINTS`, so it runs inside the run's process and those of its stages. An order is a file; whoever
fulfils it renames the file first, so that it is carried out once, whatever dies and is started again meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from nvisy.errors import Unreachable
from nvisy.fault_points import Point
from tests.faults.switched_off import SWITCHED_OFF, switch_off

FOLDER = "NVISY_TEST_FAULTS"
"""Variable that names the folder of the orders."""
ORDER, TAKEN, TRACE = "order.json", "taken.json", "trace"
ANYWHERE = "*"
"""Stage of an order that any process may fulfil."""


class Injector:
    """The points of this process, and the order that waits for one of them."""

    def __init__(self, folder: Path) -> None:
        self._order = folder / ORDER
        self._taken = folder / TAKEN
        self._trace = os.open(folder / TRACE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._lock = threading.Lock()
        self._counted_for = ""
        self._count = 0

    def reached(self, point: Point, stage: str) -> None:
        """Note it, and do what is ordered here."""
        os.write(self._trace, f"{stage or '-'} {point.name} {os.getpid()}\n".encode())
        order = self._mine(point, stage)
        if order is not None:
            obey(order, point)

    def _mine(self, point: Point, stage: str) -> dict[str, Any] | None:
        """The order, if it is for this point and this is the time it speaks of, and nobody else has taken it."""
        with self._lock:
            try:
                order: dict[str, Any] = json.loads(self._order.read_bytes())
            except FileNotFoundError:
                return None
            if order["point"] != point or order["stage"] not in (stage, ANYWHERE):
                return None
            if order["id"] != self._counted_for:
                self._counted_for, self._count = order["id"], 0
            self._count += 1
            if self._count != order["nth"]:
                return None
            return self._take(order)

    def _take(self, order: dict[str, Any]) -> dict[str, Any] | None:
        try:
            self._order.rename(self._taken.with_suffix(f".{os.getpid()}"))
        except FileNotFoundError:
            return None
        note = {**order, "at": time.monotonic(), "pid": os.getpid()}
        whole = self._taken.with_suffix(".new")
        whole.write_text(json.dumps(note))
        whole.rename(self._taken)
        return order


def obey(order: dict[str, Any], point: Point) -> None:
    """Die, stop, wait or fail."""
    match order["do"]:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_later":
            threading.Timer(order["seconds"], os.kill, (os.getpid(), signal.SIGKILL)).start()
        case "kill_parent":
            os.kill(_run_of(order), signal.SIGKILL)
        case "kill_all":
            end_all(_run_of(order))
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sleep":
            time.sleep(order["seconds"])
        case "raise":
            raise Unreachable(f"as the test ordered, at {point.name}")


def _run_of(order: dict[str, Any]) -> int:
    """The process of the run that this one is, or is a stage of: a stage is forked by a child of the run."""
    return order["run"] or (psutil.Process(os.getppid()).ppid() if order["stage"] else os.getpid())


def end_all(run: int) -> None:
    """Kill a run, so that it starts nothing again, then its stages; this process last."""
    family = [psutil.Process(run), *psutil.Process(run).children(recursive=True)]
    for process in sorted(family, key=lambda one: one.pid == os.getpid()):
        with suppress(psutil.NoSuchProcess):
            process.kill()


if SWITCHED_OFF in os.environ and FOLDER in os.environ:
    switch_off(os.environ[SWITCHED_OFF], Path(os.environ[FOLDER]))

_injector: Injector | None = None


def reached(point: Point, stage: str) -> None:
    """The function that `NVISY_FAULT_POINTS` names."""
    global _injector  # noqa: PLW0603 - one for the process
    if _injector is None:
        _injector = Injector(Path(os.environ[FOLDER]))
    _injector.reached(point, stage)
