"""The writing thread of a stage: takes what the dataflow hands over, writes it, and commits what is through.

Bytewax callbacks never wait: they put flights into this thread's queue. What is queued is bounded by the credit of the
`AckTracker`, since nothing is read while that is used up.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Protocol

from nvisy.errors import Transient
from nvisy.fault_points import Point, reach
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.flight import REPLAYED, Flight
from nvisy.runtime.outlets import Outlet
from nvisy.topics.log import Session, TopicPartition

COMMIT_IDLE_S = 0.010
COMMIT_BUSY_S = 0.250
"""A commit to a broker takes some 20 ms, in which nothing is written. So a stage whose outlets are sinks commits in a
pause, or as often as a busy one: what it wrote is found before. What is appended to a topic can be read only once it is
committed, so that does not wait for a pause.
"""
MAX_GATHER = 4096
SETTLE_IDLE_S = 5.0

_log = logging.getLogger(__name__)


class Desk(Protocol):
    """Who is told how writing goes on, always on the writing thread."""

    def state(self, positions: Mapping[TopicPartition, int]) -> Mapping[str, bytes | None]:
        """What to remember in the commit that says that everything below these positions is through."""

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """These flights stand in the log or in a sink now, and everything below the positions is through."""

    def between_commits(self) -> None:
        """Nothing is uncommitted: time for what needs the session and the sinks to itself. Called often."""

    def at_end(self) -> None:
        """Everything that was to be read is written, committed and settled."""


class WritingThread:
    """Writes to the outlets of a stage, in the order in which flights are handed over, and commits."""

    def __init__(
        self,
        session: Session,
        outlets: Sequence[Outlet],
        tracker: AckTracker,
        book: DeadLetterBook,
        *,
        inputs: frozenset[str],
        desk: Desk,
    ) -> None:
        self._session = session
        self._outlets = outlets
        self._tracker = tracker
        self._book = book
        self._inputs = inputs
        self._desk = desk
        self._queue: queue.SimpleQueue[tuple[int, Sequence[Flight]] | None] = queue.SimpleQueue()
        self._through: list[Flight] = []
        self._shows_when_committed = any(not outlet.waits for outlet in outlets)
        self._last_commit = time.monotonic()
        self._uncommitted = False
        self._unsettled = False
        self._settle_at_end = False
        self._thread = threading.Thread(target=self._run, name="writing", daemon=True)
        self.error: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def hand_over(self, outlet: int, flights: Sequence[Flight]) -> None:
        """Take these; returns at once. Raises what the thread died of."""
        self.raise_error()
        self._queue.put((outlet, flights))

    def raise_error(self) -> None:
        """Raise what the thread died of, if it did."""
        if self.error is not None:
            raise self.error

    def finish(self, *, settle: bool) -> None:
        """Write and commit everything handed over, let the sinks settle, then end the thread."""
        self._settle_at_end = settle
        self._queue.put(None)
        self._thread.join()
        self.raise_error()

    @property
    def idle(self) -> bool:
        """Everything handed over has been written and committed."""
        return self._queue.empty() and self._tracker.idle and not self._uncommitted

    def _run(self) -> None:
        try:
            while self._turn():
                pass
            if self._settle_at_end:
                self.settle()
                self._desk.at_end()
        except BaseException as error:
            self.error = error
        finally:
            for outlet in self._outlets:
                outlet.close()

    def _turn(self) -> bool:
        gathered, going_on = self._gather()
        if gathered:
            reach(Point.GATHERED)
        for outlet, flights in gathered.items():
            self._write(outlet, flights)
        drained = self._queue.empty()
        self._settle(quiet=not gathered)
        if self._uncommitted:
            waited_s = time.monotonic() - self._last_commit
            is_pause = drained and waited_s >= COMMIT_IDLE_S and (self._shows_when_committed or not gathered)
            if is_pause or waited_s >= COMMIT_BUSY_S or not going_on:
                self._commit()
        if not self._uncommitted:
            self._desk.between_commits()
        return going_on

    def _gather(self) -> tuple[dict[int, list[Flight]], bool]:
        """What is queued, by outlet, up to a batch; waits for the first a moment."""
        gathered: dict[int, list[Flight]] = defaultdict(list)
        n_flights = 0
        wait_s = COMMIT_IDLE_S if self._uncommitted else 0.1
        while n_flights < MAX_GATHER:
            try:
                entry = self._queue.get(timeout=wait_s) if not n_flights else self._queue.get_nowait()
            except queue.Empty:
                break
            if entry is None:
                return gathered, False
            outlet, flights = entry
            gathered[outlet] += flights
            n_flights += len(flights)
        return gathered, True

    def _write(self, index: int, flights: Sequence[Flight]) -> None:
        # `_uncommitted` is raised before anything counts as done, so that `idle` is never true too early.
        self._uncommitted = True
        outlet = self._outlets[index]
        due = self._book.due(outlet.name, flights)
        good = [flight for flight in due if not flight.failure]
        refused = {flight.ticket: flight for flight in outlet.write(good)}
        reach(Point.WRITTEN)
        answered = [refused.get(flight.ticket, flight) for flight in due]
        letters = self._book.entries(outlet.name, answered)
        if letters:
            reach(Point.DEAD_LETTER)
        self._session.append(letters)
        if len(due) < len(flights):
            tickets = {flight.ticket for flight in due}
            answered += [flight for flight in flights if flight.ticket not in tickets]
        self._through += [flight for flight in answered if self._tracker.done(flight.ticket)]
        if letters and outlet.waits:
            self._commit()  # a transaction must not stay open until the outlet answers next time

    def _settle(self, *, quiet: bool) -> None:
        """After a quiet while sinks build what is cheaper built at once: an index over everything loaded."""
        if not quiet:
            self._unsettled = True
        elif (
            self._unsettled and not self._uncommitted and time.monotonic() - self._last_commit > SETTLE_IDLE_S
        ):
            self.settle()

    def settle(self) -> None:
        """Let the sinks build it now. One that cannot is complete without, and asked again after the next quiet."""
        self._unsettled = False
        for outlet in self._outlets:
            try:
                outlet.settle()
            except Transient as error:
                _log.warning("sink %s: its index is not built yet: %s", outlet.name, error)

    def _commit(self) -> None:
        everything = self._tracker.positions()
        positions = {
            at: low for at, low in everything.items() if at.topic in self._inputs and at.partition != REPLAYED
        }
        through, self._through = self._through, []
        reach(Point.COMMIT)
        self._session.commit(positions, self._desk.state(everything))
        reach(Point.COMMITTED)
        self._last_commit = time.monotonic()
        self._uncommitted = False
        self._desk.committed(through, positions)
