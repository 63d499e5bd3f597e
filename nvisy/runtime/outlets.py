"""The ends of a stage: a topic of the graph, somebody else's topic, or a sink."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from nvisy.codec.codec import Codec
from nvisy.connector.sink import Outcome, RecordSet, SinkCapabilities
from nvisy.errors import CodecError, Rejected, Transient, Unreachable
from nvisy.fault_points import Point, reach
from nvisy.primitives.provenance import Version
from nvisy.runtime.counters import NodeCounters, StageCounters
from nvisy.runtime.flight import Failure, Flight
from nvisy.runtime.memory import Values
from nvisy.runtime.records import lane_of, record_set
from nvisy.runtime.retry import RetryPolicy
from nvisy.runtime.sinks import OpenSink
from nvisy.runtime.watchdog import Activity
from nvisy.topics.log import Append, Session, TopicPartition

T = TypeVar("T")

NEWER_THAN_ALL = 1 << 53
"""No version's number reaches it."""


class Outlet(ABC):
    """Where changes leave a stage."""

    name: str
    waits = False
    """Its `write` may wait for another system, for minutes where that is down."""

    @abstractmethod
    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        """Take these, none of them failed. Gives back those it refused, failed; the others are safe to acknowledge.

        A topic's records become durable with the commit that acknowledges them, a sink's before this returns.
        """

    def state(self) -> Values:
        """What to remember with the next commit."""
        return {}

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:  # noqa: B027 - most outlets have nothing to do
        """What was written is acknowledged, and the input has been read up to `positions`."""

    def sweep(self, source: str, epoch: int) -> Sequence[Flight]:
        """Remove what a full pass over the source did not confirm: whatever has a version below incarnation `epoch`.

        Gives back those it refused, as `write` does.
        """
        return ()

    def settle(self) -> None:  # noqa: B027 - most outlets have nothing to do
        """Everything there was has been written: time to build what is built after a load."""

    def close(self) -> None:  # noqa: B027 - most outlets have nothing to do
        """Let go of everything. May be called twice. A topic belongs to the stage's session, which does it."""


class TopicOutlet(Outlet):
    """A topic of the graph: one record per change."""

    def __init__(self, topic: str, session: Session, codec: Codec, inc: int) -> None:
        self.name = topic
        self._session = session
        self._codec = codec
        self._inc = inc

    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        """Append each change to the partition it came from, so that a partition has one writer."""
        records: list[Append] = []
        refused: list[Flight] = []
        for flight in flights:
            change = flight.change
            try:
                value = self._codec.encode_change(change, self.name, inc=self._inc)
            except (Rejected, CodecError) as error:
                refused.append(flight.failed(Failure.of(self.name, rejection(error))))
                continue
            records.append(Append(self.name, change.origin.partition, change.message_key, value))
        reach(Point.APPEND)
        self._session.append(records)
        reach(Point.APPENDED)
        return refused


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a sink that does not answer is waited for, and who is told.

    Attributes:
        retry: How the call is repeated.
        waiting: Told of every wait: the error and the seconds until the next try.
        stopped: Ends the trying, since the run is to stop.
        activity: Is told while another system is asked.
    """

    retry: RetryPolicy
    waiting: Callable[[Transient, float], None]
    stopped: Callable[[], bool]
    activity: Activity = field(default_factory=Activity)


class SinkOutlet(Outlet):
    """A sink: one record set per change, applied in batches as large as the sink takes."""

    waits = True

    def __init__(self, graph: str, sink: OpenSink, patience: Patience, counters: StageCounters) -> None:
        self.name = sink.node
        self._graph = graph
        self._writer = sink.writer
        self._stamping = sink.stamping
        self._capabilities = sink.descriptor.capabilities
        self._patience = patience
        self._totals = counters
        self._counters: NodeCounters = counters.node(sink.node)
        self._lanes: dict[str, str] = {}

    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        """Apply the last change of each key; the ones before it are superseded."""
        last = {(f.change.origin.source, f.change.origin.key): f for f in flights}
        self._totals.superseded += len(flights) - len(last)
        kept = list(last.values())
        sets = [record_set(f.change, self._lane(f.change.origin.source), self.name) for f in kept]
        self._counters.received += sum(len(s.records) for s in sets)
        refused: list[Flight] = []
        for start, end in _batches(sets, self._capabilities):
            stamp = [self._stamping.of(sets)] if end == len(sets) else []
            outcomes = self._apply([*sets[start:end], *stamp])[: end - start]
            for flight, outcome in zip(kept[start:end], outcomes, strict=True):
                self._count(outcome)
                if outcome.fault:
                    self._counters.failed += 1
                    refused.append(flight.failed(Failure.of(self.name, outcome.fault)))
        return refused

    def state(self) -> Values:
        """The stamp that the collection bears now."""
        return self._stamping.state()

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        """The stamp is in the state."""
        self._stamping.committed()

    def sweep(self, source: str, epoch: int) -> Sequence[Flight]:
        """Remove from the collection what has a version below incarnation `epoch`."""
        self._totals.removed += self._call(
            lambda: self._writer.sweep(self._lane(source), Version(epoch, 0).number)
        )
        return ()

    def forget_lanes(self, kept: Collection[str]) -> None:
        """Remove what nodes that the graph no longer has left behind."""
        for lane in sorted(set(self._call(self._writer.lanes)) - set(kept)):
            self._totals.removed += self._call(partial(self._writer.sweep, lane, NEWER_THAN_ALL))

    def settle(self) -> None:
        """Build the index, if the sink builds one after a load."""
        with self._patience.activity.asking():
            self._writer.settle()

    def close(self) -> None:
        """Close the sink."""
        self._writer.close()

    def _apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        def apply() -> Sequence[Outcome]:
            reach(Point.SINK_CALL)
            outcomes = self._writer.apply(sets)
            reach(Point.SINK_ANSWERED)
            return outcomes

        return self._call(apply)

    def _call(self, function: Callable[[], T]) -> T:
        """Call the sink, again and again while it is down: it was there before, so this is an outage."""

        def call() -> T:
            try:
                return function()
            except Unreachable as error:
                raise Transient(str(error)) from error

        patience = self._patience
        with patience.activity.asking():
            return patience.retry.call(call, waiting=patience.waiting, stopped=patience.stopped)

    def _count(self, outcome: Outcome) -> None:
        self._totals.written += outcome.written
        self._totals.removed += outcome.removed
        self._totals.unchanged += outcome.unchanged
        self._totals.superseded += outcome.superseded
        self._counters.emitted += outcome.written

    def _lane(self, source: str) -> str:
        if source not in self._lanes:
            self._lanes[source] = lane_of(self._graph, self.name, source)
        return self._lanes[source]


def rejection(error: Rejected | CodecError) -> Rejected:
    """What could not be encoded, as the rejection of its change."""
    return error if isinstance(error, Rejected) else Rejected(str(error), kind="encode")


def _batches(sets: Sequence[RecordSet], limits: SinkCapabilities) -> Sequence[tuple[int, int]]:
    """Slices of `sets` within the sink's limits; a set that exceeds them alone is a slice of its own."""
    slices: list[tuple[int, int]] = []
    start = records = n_bytes = 0
    for position, one in enumerate(sets):
        more = len(one.records)
        more_bytes = sum(record.vector.nbytes + len(record.text) for record in one.records)
        over = records + more > limits.max_batch_records or n_bytes + more_bytes > limits.max_batch_bytes
        if over and position > start:
            slices.append((start, position))
            start, records, n_bytes = position, 0, 0
        records += more
        n_bytes += more_bytes
    if start < len(sets):
        slices.append((start, len(sets)))
    return slices
