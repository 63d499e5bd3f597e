"""Reading a source that reports what happens: from a position on, which is committed with the changes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from nvisy.connector.source import Batch, Event, StreamSource
from nvisy.primitives.change import Change, Op
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.clearing import LiveKeys
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.memory import Memory, Values
from nvisy.topics.log import TopicPartition
from nvisy.topics.partitioner import partition_of

LIMIT = 1000
TIMEOUT_S = 0.1
WAIT_S = 0.005


class StreamingReader:
    """Reads a stream and keeps, for every batch, the position that may be committed once all of it is through."""

    def __init__(  # noqa: PLR0913 - what changes are stamped with, each a fact of its own
        self,
        source: StreamSource,
        memory: Memory,
        *,
        node: str,
        run: str,
        graph: str,
        partitions: int,
        topic: str,
        inc: int | None,
        counters: NodeCounters,
        live_keys: LiveKeys,
        forgotten: frozenset[str] = frozenset(),
    ) -> None:
        """`forgotten`: keys of documents that are to stay away, so that whatever is said of them is a delete."""
        self._position = f"position/{memory.epoch}"  # another epoch starts at the beginning
        stored = memory.values.get(self._position)
        self._outdated = {
            name: None for name in memory.values if name.startswith("position") and name != self._position
        }
        self._reader = source.open(orjson.loads(stored) if stored is not None else None)
        self._node = node
        self._run = run
        self._graph = graph
        self._partitions = partitions
        self._topic = topic
        self._inc = inc
        self._counters = counters
        self._live_keys = live_keys
        self._forgotten = forgotten
        self._under_way: tuple[Batch, Iterator[Flight | None]] | None = None
        self._at = TopicPartition(node, 0)
        self._sequence = 0
        self._lock = threading.Lock()
        self._ahead: deque[tuple[int, Any]] = deque()
        self._unconfirmed: Any = None
        self._said: Any = None
        self._complete_at: int | None = 0 if memory.complete == memory.epoch else None
        self._low = 0
        self._through = 0
        self.ended = False

    def read(self, *, paused: bool) -> Sequence[Flight]:
        """The next batch of the stream."""
        if paused:
            return ()
        if self._under_way is None:
            batch = self._reader.read(LIMIT, TIMEOUT_S)
            self._under_way = batch, self._flights(batch.events)
        batch, coming = self._under_way
        flights: list[Flight] = []
        for flight in coming:
            if flight is None:
                return flights
            flights.append(flight)
        self._under_way = None
        with self._lock:
            if self._ahead and self._ahead[-1][0] == self._sequence:
                self._ahead.pop()  # a silent stream moves on without anything to commit: keep one position, not all
            self._ahead.append((self._sequence, batch.position))
        if (batch.complete or batch.end) and self._complete_at is None:
            self._complete_at = self._sequence
        self.ended = batch.end
        return flights

    def state(self, positions: Mapping[TopicPartition, int]) -> Values:
        """The position up to which every flight is through; it moves on while nothing is in flight, too."""
        self._low = positions.get(self._at, self._low)
        with self._lock:
            position = None
            while self._ahead and self._ahead[0][0] <= self._low:
                _, position = self._ahead.popleft()
        if position is None or position == self._said:
            return {}
        self._said = self._unconfirmed = position
        outdated, self._outdated = self._outdated, {}
        return {**outdated, self._position: orjson.dumps(position)}

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """The last state is durable: the source may forget what lies before it."""
        self._through += len(flights)
        if self._unconfirmed is not None:
            self._reader.confirm(self._unconfirmed)
            self._unconfirmed = None

    @property
    def complete(self) -> bool:
        """What was there when the stream was opened for the first time in this epoch is through."""
        return self._complete_at is not None and self._through >= self._complete_at

    def close(self) -> None:
        """Close the stream."""
        self._reader.close()

    def _flights(self, events: Sequence[Event]) -> Iterator[Flight | None]:
        """The flights of a batch. None: what came before has to get through first."""
        for event in events:
            if event.op != "clear":
                yield self._flight(event)
                continue
            while self._through < self._sequence:
                yield None
                time.sleep(WAIT_S)
            for number, key in enumerate(self._live_keys(event.key), 1):
                yield self._flight(Event(key, "delete", observed_at_us=event.observed_at_us))
                if number % LIMIT == 0:
                    yield None

    def _flight(self, event: Event) -> Flight:
        origin = Provenance(
            source=self._node,
            key=event.key,
            uri=event.uri,
            version=None if self._inc is None else Version(self._inc, self._sequence),
            partition=partition_of(f"{self._node}/{event.key}".encode(), self._partitions),
            observed_at_us=event.observed_at_us or time.time_ns() // 1000,
            run=self._run,
            topic=self._topic,
        )
        items: tuple[Primitive, ...] = ()
        is_gone = event.op == "delete" or event.key in self._forgotten
        if event.item is not None and not is_gone:
            items = (
                event.item.identified(
                    discriminator="", node=self._node, steps="", parent="", provenance=origin
                ),
            )
        ticket = Ticket(self._at, self._sequence)
        self._sequence += 1
        self._counters.received += 1
        self._counters.emitted += 1
        op: Op = "delete" if is_gone else "upsert"
        return Flight(Change(origin, op, items, graph=self._graph), ticket, _raw(items[0] if items else None))


def _raw(item: Primitive | None) -> bytes:
    """What an item says, as bytes: what it weighs in flight, and what a dead letter keeps of it."""
    if item is None:
        return b""
    said = item.content_parts()[-1]
    return said.encode() if isinstance(said, str) else said
