"""Poison in a listed source: the item whose loading, or whatever follows in the stage, ends the process.

A listing has no positions, so lives are counted from one full pass to the next, and a mark is a key. What was found
guilty is not loaded again while it has the fingerprint it had then.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import NamedTuple

import orjson

from nvisy.runtime.memory import Memory, Values
from nvisy.runtime.poison import LIVES, SIGHTINGS, SUSPECTS, Life


class Mark(NamedTuple):
    """An item that was let through alone."""

    key: str
    fingerprint: str


class KeyByKey:
    """What a source's stage remembers of the deaths of its processes, and which item it has to be careful with.

    Used by the reading thread, which asks, and by the writing thread (`state`, `committed`, `is_due`).
    """

    def __init__(self, memory: Memory, node: str, life: Life) -> None:
        """Begin a life of the stage of a source node. It is noted durably."""
        self.life = life
        self._memory = memory
        self._name = f"deaths/{node}"
        self._prefix = f"poisoned/{node}/"
        said = orjson.loads(memory.values.get(self._name, b"{}"))
        self._lives = said.get("lives", 0) + life.counts
        self._mark = Mark(*said["mark"]) if said.get("mark") else None
        self._sightings = said.get("sightings", 0) + (self._mark is not None)
        solved: dict[str, bytes | None] = {}
        if self._mark is not None and (life.died_of or self._sightings >= SIGHTINGS):
            solved[self._prefix + self._mark.key] = self._mark.fingerprint.encode()
            self._begin_anew()
        self._left = SUSPECTS if self._lives >= LIVES or self._mark is not None else 0
        memory.remember({**solved, self._name: self._said()})
        self._lock = threading.Lock()
        self._wanted: tuple[Mark, int] | None = None
        self._written: Mark | None = None
        self._noted: Mark | None = None
        self._through = 0
        self._is_over = False
        self._forgiven: set[str] = set()

    def is_poison(self, key: str, fingerprint: bytes) -> bool:
        """Whether an item was found guilty and is as it was then."""
        return self._memory.values.get(self._prefix + key) == fingerprint.hex().encode()

    def alone(self, key: str, fingerprint: bytes, before: int) -> Iterator[None]:
        """Yields until the item may be loaded: it is marked, and the first `before` changes of this life are done."""
        if not self._left:
            return
        self._left -= 1
        mark = Mark(key, fingerprint.hex())
        with self._lock:
            self._wanted = mark, before
        while self._noted != mark:
            yield
        with self._lock:
            self._wanted = self._noted = None

    def forgive(self) -> None:
        """Somebody wants what was found guilty to be tried again. A process that dies of it does so once."""
        with self._lock:
            self._forgiven = {name for name in self._memory.values if name.startswith(self._prefix)}
            for name in self._forgiven:
                del self._memory.values[name]

    def over(self) -> None:
        """A full pass is through: nothing is suspected any more."""
        with self._lock:
            self._left = 0
            self._is_over = self._lives > 1 or self._mark is not None or bool(self._forgiven)

    def state(self, through: int) -> Values:
        """What to commit when the first `through` changes of this life are."""
        with self._lock:
            self._through = max(self._through, through)
            if self._is_over:
                self._is_over = False
                self._begin_anew()
                innocent, self._forgiven = dict.fromkeys(self._forgiven), set()
                return {**innocent, self._name: self._said()}
            if not self.is_due:
                return {}
            assert self._wanted is not None
            self._written, _ = self._wanted
            if self._mark != self._written:
                self._mark, self._sightings = self._written, 0
            return {self._name: self._said()}

    def committed(self) -> None:
        """What `state` said last is durable."""
        with self._lock:
            self._noted, self._written = self._written or self._noted, None

    def closed(self) -> Values:
        """The process ends in order."""
        return {self._name: None}

    @property
    def is_due(self) -> bool:
        """Whether an item waits for nothing but its mark."""
        wanted = self._wanted
        return wanted is not None and self._noted != wanted[0] and self._through >= wanted[1]

    def _begin_anew(self) -> None:
        self._lives, self._mark, self._sightings = 1, None, 0

    def _said(self) -> bytes:
        mark = list(self._mark) if self._mark is not None else None
        return orjson.dumps({"lives": self._lives, "mark": mark, "sightings": self._sightings})
