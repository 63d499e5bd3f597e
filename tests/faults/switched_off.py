"""Mechanisms that can be switched off in the processes under test, to see which row of the matrix misses them.

`inject.py` calls `switch_off` where `SWITCHED_OFF` names one. What a mechanism is made of is replaced in memory, when
its module has been imported; no file changes. Every process that did so says it in the folder of the orders.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

SWITCHED_OFF = "FAULTS_SWITCHED_OFF"
"""Variable that names the mechanism."""
NOTE = "switched-off"
"""File in the folder of the orders: the modules in which something was replaced, with ids of processes."""


class Part(NamedTuple):
    """What is replaced in one module.

    Attributes:
        module: Has to be imported before it can be.
        replace: Does it, in that module.
    """

    module: str
    replace: Callable[[Any], None]


def fenced_appends(seat_rows: Any) -> None:
    """Whoever had a seat once may go on committing."""
    seat_rows.holds = lambda *_: True


def acknowledged_only(ack: Any) -> None:
    """Positions go to the end of what was read."""
    register = ack.AckTracker.register

    def registered(tracker: Any, ticket: Any, terminals: int, n_bytes: int) -> None:
        vars(tracker).setdefault("read", {})[ticket.at] = ticket.offset + 1
        register(tracker, ticket, terminals, n_bytes)

    ack.AckTracker.register = registered
    ack.AckTracker.positions = lambda tracker: dict(vars(tracker).get("read", {}))


def order_of_answers(window: Any) -> None:
    """What a model has answered goes on, whatever came before it."""

    def take(self: Any) -> list[Any]:
        if self._error is not None:
            raise self._error
        if self._stopped():
            self._abandon_late()
        with self._changed:
            ready = [entry for entry in self._order if not entry.missing]
            for entry in ready:
                self._order.remove(entry)
        return [self._finish(entry) for entry in ready]

    window.Window.take = take


def partition_of_a_key(partitioner: Any) -> None:
    """A key goes into another partition every time."""
    numbers = itertools.count()
    partitioner.partition_of = lambda _key, partitions: next(numbers) % partitions


def removal(writer: Any) -> None:
    """Records that a document no longer has stay."""
    writer.SqliteWriter._removed = lambda *_: 0


def version_guard(writer: Any) -> None:
    """No head is newer than what comes."""
    plan = writer.plan

    def unguarded(sets: Any, heads: Any, fault: Any) -> Any:
        return plan(sets, {key: head._replace(version=-1) for key, head in heads.items()}, fault)

    writer.plan = unguarded


def batches_of_one(outlets: Any) -> None:
    """A batch of several versions of a document brings more than the last one to the sink."""
    write = outlets.SinkOutlet.write
    outlets.SinkOutlet.write = lambda self, flights: [bad for one in flights for bad in write(self, [one])]


def answer_of_the_sink(writing: Any) -> None:
    """What is handed over to a sink is acknowledged, and then written."""
    write = writing.WritingThread._write

    def write_later(self: Any, index: int, flights: Sequence[Any]) -> None:
        if not self._outlets[index].waits:
            write(self, index, flights)
            return
        tracker = self._tracker
        self._through += [one for one in flights if tracker.done(one.ticket)]
        self._uncommitted = True
        self._commit()
        self._tracker = _Through(tracker)
        write(self, index, flights)
        self._tracker = tracker

    writing.WritingThread._write = write_later


class _Through:
    """A tracker that was told everything before."""

    def __init__(self, tracker: Any) -> None:
        self.positions = tracker.positions

    def done(self, _ticket: Any) -> bool:
        return False


def lease(lock: Any) -> None:
    """A graph may be run by two at once."""

    def opened(path: Path) -> int:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    lock.lock = opened


def remembered_deletes(writer: Any) -> None:
    """With the last record of a document its head goes, too."""
    write = writer.SqliteWriter._write

    def forget(self: Any, steps: Sequence[Any]) -> Any:
        outcomes = write(self, steps)
        empty = [s for s in (step.record_set for step in steps) if not s.records and s.source]
        for one in empty:  # a stamp has no source
            query = f'DELETE FROM "{self._table}__heads" WHERE key = ? AND lane = ?'
            self._connection.execute(query, (one.key, one.lane))
        return outcomes

    writer.SqliteWriter._write = forget


_SQLITE, _OUTLETS = "nvisy_vector._sqlite_writer", "nvisy.runtime.outlets"

MECHANISMS = {
    "fenced appends": (Part("nvisy.topics.embedded.seat_rows", fenced_appends),),
    "only what is acknowledged is committed": (Part("nvisy.runtime.ack", acknowledged_only),),
    "a key stays in its partition": (Part("nvisy.topics.partitioner", partition_of_a_key),),
    "answers of a model go on in order": (Part("nvisy.runtime.window", order_of_answers),),
    "what is no longer in a document is removed": (Part(_SQLITE, removal),),
    "nothing, with batches of one document": (Part(_OUTLETS, batches_of_one),),
    "the version guard": (Part(_SQLITE, version_guard), Part(_OUTLETS, batches_of_one)),
    "acknowledged after the sink's answer": (Part("nvisy.runtime.writing", answer_of_the_sink),),
    "the claim: one run at a time": (Part("nvisy.topics.lock", lease),),
    "deletes are remembered": (Part(_SQLITE, remembered_deletes), Part(_OUTLETS, batches_of_one)),
}


def switch_off(name: str, folder: Path) -> None:
    """Switch a mechanism off in this process, now or as soon as its modules are there."""
    for part in MECHANISMS[name]:
        _replace(part, folder / NOTE)


def _replace(part: Part, note: Path) -> None:
    def replace(module: ModuleType) -> None:
        part.replace(module)
        with note.open("a") as noted:
            noted.write(f"{part.module} {os.getpid()}\n")

    module = sys.modules.get(part.module)
    if module is None:
        sys.meta_path.insert(0, _AfterImport(part.module, replace))
    elif getattr(module.__spec__, "_initializing", False):
        raise ImportError(f"{part.module} is being imported: too late to replace anything in it")
    else:
        replace(module)


class _AfterImport(importlib.abc.MetaPathFinder):
    """Does something to a module right after it was imported."""

    def __init__(self, name: str, then: Callable[[ModuleType], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def execute_then(module: ModuleType) -> None:
            execute(module)
            self._then(module)

        spec.loader.exec_module = execute_then  # type: ignore[method-assign]
        return spec
