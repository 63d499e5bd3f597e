"""Lets the records through that may be poison: one at a time, each after a mark that outlives the process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence

from nvisy.runtime.memory import Values
from nvisy.runtime.poison import Cases
from nvisy.runtime.reading import Polled
from nvisy.topics.log import LogRecord, TopicPartition


class OneByOne:
    """Lets records of suspected partitions through one at a time, marked before, and all others in batches between.

    Used by the reading thread (`poll`, `caught_up`) and by the writing thread (`state`, `committed`, `waits`).
    """

    def __init__(
        self,
        session: Polled,
        cases: Cases,
        until: Mapping[TopicPartition, int],
        skipped: Mapping[TopicPartition, int],
    ) -> None:
        """Suspect the partitions of `until`, each up to that offset; leave out what is in the dead letters already."""
        self._session = session
        self._cases = cases
        self._until = dict(until)
        self._skipped = skipped
        self._held: deque[LogRecord] = deque()
        self._given: dict[TopicPartition, int] = {}
        self._low: dict[TopicPartition, int] = {}
        self._lock = threading.Lock()
        self._wanted: LogRecord | None = None
        self._noted: LogRecord | None = None
        self._marked = threading.Event()

    def poll(self, limit: int, timeout_s: float, *, paused: bool = False) -> Sequence[LogRecord]:
        """What may be looked at now: a record alone once all before it is through and it is marked, or a batch."""
        if not self._held:
            trusted = self._sorted_out(self._polled(limit, timeout_s, paused=paused))
            if trusted:
                return self._give(trusted)
            self._want_next()
        if not self._held:
            return ()
        if not self._marked.wait(timeout_s):
            self._session.poll(limit, 0.0, paused=True)
            return ()
        return self._give([self._held.popleft()])

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether all below `ends` was given out."""
        return not self._held and self._session.caught_up(ends)

    def state(self, positions: Mapping[TopicPartition, int]) -> Values:
        """The mark to commit with these positions: of the record that is next, if all before it is through then."""
        with self._lock:
            self._low.update(positions)
            if self._wanted is None or not self._is_all_through():
                return {}
            wanted = self._noted = self._wanted
        return self._cases.marking(wanted.at, wanted.offset)

    def committed(self) -> None:
        """What `state` said last is durable."""
        with self._lock:
            if self._noted is not None and self._noted is self._wanted:
                self._marked.set()

    @property
    def waits(self) -> bool:
        """Whether a mark is all that is waited for."""
        with self._lock:
            return self._wanted is not None and not self._marked.is_set() and self._is_all_through()

    def _polled(self, limit: int, timeout_s: float, *, paused: bool) -> list[LogRecord]:
        records = self._session.poll(limit, timeout_s, paused=paused)
        return [record for record in records if self._skipped.get(record.at) != record.offset]

    def _give(self, records: list[LogRecord]) -> list[LogRecord]:
        with self._lock:
            self._given |= {record.at: record.offset for record in records}
        self._want_next()
        return records

    def _want_next(self) -> None:
        with self._lock:
            self._wanted = self._held[0] if self._held else None
            self._marked.clear()

    def _is_all_through(self) -> bool:
        return all(self._low.get(at, -1) > offset for at, offset in self._given.items())

    def _sorted_out(self, records: Sequence[LogRecord]) -> list[LogRecord]:
        """Hold the suspected ones, and what follows them in their partition; the others are returned."""
        suspected = {one.at for one in records if one.offset < self._until.get(one.at, 0)}
        self._held.extend(one for one in records if one.at in suspected)
        return [one for one in records if one.at not in suspected]
