"""Tells a stage that hangs from one that works, or waits for somebody.

The process of a stage reports every moment whether anything moves: whether an input position, a counter or the number
of calls to actions has changed, or nothing is in flight, or another system is being waited for. A loop inside native
code may keep it from reporting at all; to the watchdog that is the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

LONGEST_TURN_S = 1.0


class Watchdog:
    """In the supervisor: counts the seconds in which a running stage did not move."""

    def __init__(self, hang_s: float) -> None:
        """Bark after `hang_s` seconds."""
        self._hang_s = hang_s
        self.start()

    def start(self) -> None:
        """A process begins. Until it reports for the first time, it opens what it needs, which may take long."""
        self._reports = False
        self._still_s = 0.0
        self._seen_at = time.monotonic()

    def heard(self, *, moving: bool) -> None:
        """The process reported."""
        self._reports = True
        if moving:
            self._still_s = 0.0

    def has_barked(self) -> bool:
        """Whether the stage has been still for too long. Called often: a pause of the caller counts as a moment."""
        now = time.monotonic()
        self._still_s += min(now - self._seen_at, LONGEST_TURN_S)
        self._seen_at = now
        return self._reports and self._still_s > self._hang_s


class Activity:
    """In the process of a stage: what moves, apart from positions and counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking = 0
        self._working = 0
        self._calls = 0
        self._seen: Any = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Held while another system is asked or waited for, by whatever thread: no hang of ours."""
        with self._lock:
            self._asking += 1
        try:
            yield
        finally:
            with self._lock:
                self._asking -= 1

    def working(self, function: Callable[[], T], /) -> T:
        """Make a call that works on something of its own, and should come back."""
        with self._lock:
            self._calls += 1
            self._working += 1
        try:
            return function()
        finally:
            with self._lock:
                self._working -= 1

    def moves(self, *, idle: bool, seen: Any) -> bool:
        """Whether anything moved since this was asked last.

        Args:
            idle: Nothing is in flight.
            seen: Changes with whatever else moves.
        """
        with self._lock:
            now = (self._calls, seen)
            moved = (idle and not self._working) or self._asking > 0 or now != self._seen
            self._seen = now
            return moved
