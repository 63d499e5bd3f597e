"""The reading thread of a stage: fetches what comes next and keeps within the credit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from nvisy.errors import Rejected
from nvisy.fault_points import Point, reach
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Version
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.memory import Values
from nvisy.topics.log import LogRecord, TopicPartition

POLL_RECORDS = 1000
POLL_S = 0.1


class Reader(Protocol):
    """Where the changes of a stage come from."""

    def read(self, *, paused: bool) -> Sequence[Flight]:
        """What comes next, at most a batch; empty when nothing came within a moment, and always when paused."""

    def state(self, positions: Mapping[TopicPartition, int]) -> Values:
        """What to remember in the commit that says that everything below these positions is through."""

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """That commit was made, and these flights were among what it acknowledges. Called by the writing thread."""

    @property
    def ended(self) -> bool:
        """Nothing more will come."""

    @property
    def complete(self) -> bool:
        """Everything that a source held when this life of the stage began is through, and committed."""

    def close(self) -> None:
        """Let go of everything. May be called twice."""


class Polled(Protocol):
    """What the records of a stage are polled from: its session, or what lets them through one by one, or in turn."""

    def poll(self, limit: int, timeout_s: float, *, paused: bool = False) -> Sequence[LogRecord]:
        """See `nvisy.topics.log.Session`."""

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """See `nvisy.topics.log.Session`."""


class PolledByPartition(Polled, Protocol):
    """A session, which can leave partitions alone."""

    def poll(
        self, limit: int, timeout_s: float, *, paused: bool = False, held: Collection[TopicPartition] = ()
    ) -> Sequence[LogRecord]:
        """See `nvisy.topics.log.Session`."""


class Decoder(Protocol):
    """Turns a record of a topic into the change it stands for."""

    def decode(self, record: LogRecord, had: Version | None = None) -> Change:
        """The change, with the version that it `had` where it was read before. Raises `Rejected` for what is none."""

    def unknown(self, record: LogRecord) -> Change:
        """Stands for a record whose change cannot be told: its key is all there is."""


class Replays(Protocol):
    """Dead letters that are to be tried again."""

    def take(self) -> Sequence[Flight]:
        """Those that can be, at once."""

    @property
    def idle(self) -> bool:
        """None is left to be taken."""


class TopicReader:
    """Reads the input topics of a stage, in order within a partition."""

    def __init__(
        self,
        session: Polled,
        decoders: Mapping[str, Decoder],
        until: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Read the inputs of a session.

        Args:
            session: Of the stage, or what lets its records through in turn or one by one.
            decoders: By topic.
            until: Where the topics that stand for sources end now; None where the inputs are the graph's own.
        """
        self._session = session
        self._decoders = decoders
        self._ends: Mapping[TopicPartition, int] | None = None
        self._until = until
        self._last: dict[TopicPartition, int] = {}
        self._to_be_committed: Mapping[TopicPartition, int] | None = None
        self._committed: dict[TopicPartition, int] = {}
        if until is not None:
            self._note(())  # what is through already may never be read

    def end_at(self, ends: Mapping[TopicPartition, int]) -> None:
        """Everything upstream is through: the input ends at these offsets."""
        self._ends = ends

    def read(self, *, paused: bool) -> Sequence[Flight]:
        """Poll, and decode what came."""
        records = self._session.poll(POLL_RECORDS, POLL_S, paused=paused)
        if records:
            reach(Point.READ)
        flights = [self._flight(record) for record in records]
        if self._until is not None:
            self._note(flights)
        return flights

    def state(self, positions: Mapping[TopicPartition, int]) -> Values:
        """Nothing: the positions say it all."""
        return {}

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """Note how far it is."""
        self._committed.update(positions)

    @property
    def ended(self) -> bool:
        """The ends are known and everything below them has been polled."""
        return self._ends is not None and self._session.caught_up(self._ends)

    @property
    def complete(self) -> bool:
        """What topics that stand for sources held at the start is through."""
        last = self._to_be_committed
        return last is not None and all(self._committed.get(at, 0) >= next_ for at, next_ in last.items())

    def close(self) -> None:
        """Nothing to do: the session belongs to the stage."""

    def _note(self, flights: Sequence[Flight]) -> None:
        """Note what has been read, until it is everything that there was: from then on it has only to be committed."""
        for flight in flights:
            self._last[flight.ticket.at] = flight.ticket.offset + 1
        if self._until is not None and self._session.caught_up(self._until):
            self._until, self._to_be_committed = None, dict(self._last)

    def _flight(self, record: LogRecord) -> Flight:
        ticket = Ticket.of(record)
        decoder = self._decoders[record.topic]
        try:
            return Flight(decoder.decode(record), ticket, record.value or b"")
        except Rejected as error:
            return Flight(
                decoder.unknown(record), ticket, record.value or b"", Failure.of(record.topic, error)
            )


class ReadingThread:
    """Reads ahead of the dataflow, as far as the credit goes; while it is used up, reading pauses."""

    def __init__(
        self,
        reader: Reader,
        tracker: AckTracker,
        terminals: Callable[[Flight], int],
        replays: Replays | None = None,
        counters: StageCounters | None = None,
    ) -> None:
        self._reader = reader
        self._counters = counters or StageCounters()
        self._replays = replays
        self._tracker = tracker
        self._terminals = terminals
        self._queue: queue.SimpleQueue[Sequence[Flight]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="reading", daemon=True)
        self._stop = threading.Event()
        self._ended = False
        self.error: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Read no further. What has been read goes on."""
        self._stop.set()

    def take(self, timeout_s: float) -> Sequence[Flight]:
        """The next batch, or nothing after `timeout_s` seconds."""
        try:
            return self._queue.get(timeout=timeout_s)
        except queue.Empty:
            return ()

    @property
    def ended(self) -> bool:
        """Nothing more will come out of `take`. Raises what the thread died of, which is no end."""
        if not self._ended:
            return False
        if self.error is not None:
            raise self.error
        return self._queue.empty()

    def join(self) -> None:
        """Wait for the thread after `stop`."""
        self._thread.join()

    def _is_through(self) -> bool:
        return self._reader.ended and (self._replays is None or self._replays.idle)

    def _read(self, *, paused: bool) -> Sequence[Flight]:
        again = self._replays.take() if self._replays is not None and not paused else ()
        flights = self._reader.read(paused=paused)
        return [*again, *flights] if again else flights

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and not self._is_through():
                began_us = time.time_ns() // 1000
                flights = self._read(paused=self._tracker.full)
                if not self._counters.first_read_at_us and (flights or self._is_through()):
                    self._counters.first_read_at_us = began_us
                if flights:
                    reach(Point.DECODED)
                    for flight in flights:
                        self._tracker.register(flight.ticket, self._terminals(flight), len(flight.raw) + 256)
                    self._queue.put(flights)
                elif self._tracker.full:
                    time.sleep(0.002)
        except BaseException as error:
            self.error = error
        finally:
            self._reader.close()
            self._ended = True
