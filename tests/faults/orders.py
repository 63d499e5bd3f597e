"""The other side of `inject.py`: gives orders to the processes under test, and reads what they reached."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

from nvisy.fault_points import VARIABLE, Point
from tests.faults.inject import ANYWHERE, FOLDER, ORDER, TAKEN, TRACE


class Place(NamedTuple):
    """A point as a stage reaches it; `-` is the process of the run."""

    stage: str
    point: Point

    def __str__(self) -> str:
        return f"{self.stage}:{self.point.name}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """What `str` gave."""
        stage, _, name = text.rpartition(":")
        return cls(stage, Point[name])


class Orders:
    """Orders to the processes of one pipeline, one at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._trace = folder / TRACE
        self._from = 0
        self.environ = {VARIABLE: "tests.faults.inject:reached", FOLDER: str(folder)}

    def give(self, place: Place, do: str, *, run: int, nth: int = 1, seconds: float = 0.0) -> None:
        """At the `nth` time that `place` is reached from now on: `kill`, `kill_parent`, `kill_all`, `stop`, …"""
        self.withdraw()
        stage = {"-": "", ANYWHERE: ANYWHERE}.get(place.stage, place.stage)
        order = {"id": uuid4().hex, "stage": stage, "point": int(place.point), "nth": nth, "do": do}
        whole = self.folder / "order.new"
        whole.write_text(json.dumps({**order, "run": run, "seconds": seconds}))
        whole.rename(self.folder / ORDER)

    def withdraw(self) -> None:
        """Forget the order, taken or not."""
        for name in (ORDER, TAKEN):
            (self.folder / name).unlink(missing_ok=True)

    @property
    def taken(self) -> dict[str, Any] | None:
        """The order as it was carried out: `at` (monotonic seconds) and `pid` besides."""
        try:
            found: dict[str, Any] = json.loads((self.folder / TAKEN).read_bytes())
        except FileNotFoundError:
            return None
        return found

    def wait_taken(self, timeout_s: float) -> dict[str, Any] | None:
        """Like `taken`, once it is; None when the time is over."""
        until = time.monotonic() + timeout_s
        while (found := self.taken) is None and time.monotonic() < until:
            time.sleep(0.01)
        return found

    def reached(self) -> Counter[Place]:
        """What was reached since `forget`, and how often."""
        return Counter(Place(stage, Point[name]) for stage, name, _ in self._lines(self._from))

    def forget(self) -> None:
        """Count from here on."""
        self._from = self._trace.stat().st_size if self._trace.exists() else 0

    def count(self, place: Place) -> int:
        """How often `place` was reached since the cell began."""
        wanted = [place.stage, place.point.name]
        return sum(line[:2] == wanted for line in self._lines(0))

    def pids(self, place: Place) -> set[int]:
        """The processes that reached `place` since `forget`."""
        wanted = [place.stage, place.point.name]
        return {int(line[2]) for line in self._lines(self._from) if line[:2] == wanted}

    def pid_of(self, stage: str) -> int:
        """The process that runs `stage`, or ran it last."""
        return next(int(pid) for name, _, pid in reversed(list(self._lines(0))) if name == stage)

    def _lines(self, start: int) -> Iterator[list[str]]:
        if self._trace.exists():
            with self._trace.open() as file:
                file.seek(start)
                yield from (line.split() for line in file if line.endswith("\n"))
