"""The reading thread of a stage: fetches what comes next and keeps within the credit."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from nvisy.errors import Rejected
from nvisy.fault_points import Point, reach
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.memory import Values
from nvisy.topics.log import LogRecord, Session, TopicPartition

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


class Decoder(Protocol):
    """Turns a record of a topic into the change it stands for."""

    def decode(self, record: LogRecord) -> Change:
        """The change. Raises `Rejected` for bytes that are none."""


class TopicReader:
    """Reads the input topics of a stage, in order within a partition."""

    def __init__(
        self,
        session: Session,
        decoders: Mapping[str, Decoder],
        until: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """Read the inputs of a session.

        Args:
            session: Of the stage.
            decoders: By topic.
            until: Where the topics that stand for sources end now; None where the inputs are the graph's own.
        """
        self._session = session
        self._decoders = decoders
        self._ends: Mapping[TopicPartition, int] | None = None
        self._until = dict(until) if until is not None else None
        self._note(session.positions())

    def end_at(self, ends: Mapping[TopicPartition, int]) -> None:
        """Everything upstream is through: the input ends at these offsets."""
        self._ends = ends

    def read(self, *, paused: bool) -> Sequence[Flight]:
        """Poll, and decode what came."""
        records = self._session.poll(POLL_RECORDS, POLL_S, paused=paused)
        if records:
            reach(Point.READ)
        return [self._flight(record) for record in records]

    def state(self, positions: Mapping[TopicPartition, int]) -> Values:
        """Nothing: the positions say it all."""
        return {}

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """Note how far it is."""
        self._note(positions)

    @property
    def ended(self) -> bool:
        """The ends are known and everything below them has been polled."""
        return self._ends is not None and self._session.caught_up(self._ends)

    @property
    def complete(self) -> bool:
        """What topics that stand for sources held at the start is through."""
        return self._until is not None and not self._until

    def close(self) -> None:
        """Nothing to do: the session belongs to the stage."""

    def _note(self, positions: Mapping[TopicPartition, int]) -> None:
        if self._until:
            self._until = {at: end for at, end in self._until.items() if positions.get(at, 0) < end}

    def _flight(self, record: LogRecord) -> Flight:
        ticket = Ticket(TopicPartition(record.topic, record.partition), record.offset)
        try:
            return Flight(self._decoders[record.topic].decode(record), ticket, record.value or b"")
        except Rejected as error:
            return Flight(_unknown(record), ticket, record.value or b"", _undecoded(record, error))


def _unknown(record: LogRecord) -> Change:
    """Stands for a record whose change cannot be told: its key is all there is."""
    source, _, key = (record.key or b"").decode("utf-8", "replace").partition("/")
    version = Version(0, record.offset)
    return Change(
        Provenance(source, key or source, version=version, partition=record.partition, topic=record.topic)
    )


def _undecoded(record: LogRecord, error: Rejected) -> Failure:
    return Failure(record.topic, error.kind, str(error), error.retryable)


class ReadingThread:
    """Reads ahead of the dataflow, as far as the credit goes; while it is used up, reading pauses."""

    def __init__(self, reader: Reader, tracker: AckTracker, terminals: Callable[[Flight], int]) -> None:
        self._reader = reader
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

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and not self._reader.ended:
                flights = self._reader.read(paused=self._tracker.full)
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
