"""Which positions may be committed: everything below the lowest change that is not through yet."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping

from nvisy.runtime.flight import Ticket
from nvisy.topics.log import TopicPartition

CREDIT_BYTES = 16 << 20
"""Of records as they were read. What is made of them, and held with them, takes some four times as much."""
CREDIT_CHANGES = 10_000


class AckTracker:
    """Counts, for every change in flight, the terminals it has still to reach, and the bytes it holds.

    Every change reaches every terminal of its stage exactly once, if only empty or failed, so the count is known when
    the stage is compiled. Used by the reading thread (`register`) and the writing thread (`done`, `positions`).
    """

    def __init__(self, *, max_bytes: int = CREDIT_BYTES, max_changes: int = CREDIT_CHANGES) -> None:
        self._lock = threading.Lock()
        self._pending: dict[TopicPartition, deque[int]] = {}
        self._open: dict[Ticket, list[int]] = {}
        self._low: dict[TopicPartition, int] = {}
        self._bytes = 0
        self._max_bytes = max_bytes
        self._max_changes = max_changes

    def register(self, ticket: Ticket, terminals: int, n_bytes: int) -> None:
        """A change was read; offsets of one partition come in rising order."""
        with self._lock:
            self._pending.setdefault(ticket.at, deque()).append(ticket.offset)
            self._open[ticket] = [terminals, n_bytes]
            self._bytes += n_bytes

    def done(self, ticket: Ticket) -> bool:
        """One terminal is through with it. Returns whether that was the last one."""
        with self._lock:
            entry = self._open[ticket]
            entry[0] -= 1
            if entry[0]:
                return False
            del self._open[ticket]
            self._bytes -= entry[1]
            pending = self._pending[ticket.at]
            while pending and Ticket(ticket.at, pending[0]) not in self._open:
                self._low[ticket.at] = pending.popleft() + 1
            return True

    def positions(self) -> Mapping[TopicPartition, int]:
        """By partition: the offset to go on from, if the process died now."""
        with self._lock:
            return dict(self._low)

    @property
    def idle(self) -> bool:
        """Nothing is in flight."""
        return not self._open

    @property
    def in_flight(self) -> int:
        """Changes read and not through yet."""
        return len(self._open)

    @property
    def full(self) -> bool:
        """The reader has to wait: what is in flight uses up the credit."""
        return self._bytes >= self._max_bytes or len(self._open) >= self._max_changes
