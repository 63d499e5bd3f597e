"""Reading a source that reports what happens: from a position on, which is committed with the changes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from nvisy.connector.source import Event, StreamSource
from nvisy.primitives.change import Change
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Flight, Ticket
from nvisy.topics.log import TopicPartition
from nvisy.topics.partitioner import partition_of

POSITION = "position"
LIMIT = 1000
TIMEOUT_S = 0.1


class StreamingReader:
    """Reads a stream and keeps, for every batch, the position that may be committed once all of it is through."""

    def __init__(
        self,
        source: StreamSource,
        state: Mapping[str, bytes],
        *,
        node: str,
        run: str,
        graph: str,
        partitions: int,
        topic: str,
        inc: int | None,
        counters: NodeCounters,
    ) -> None:
        self._reader = source.open(orjson.loads(state[POSITION]) if POSITION in state else None)
        self._node = node
        self._run = run
        self._graph = graph
        self._partitions = partitions
        self._topic = topic
        self._inc = inc
        self._counters = counters
        self._at = TopicPartition(node, 0)
        self._sequence = 0
        self._lock = threading.Lock()
        self._ahead: deque[tuple[int, Any]] = deque()
        self._unconfirmed: Any = None
        self.ended = False

    def read(self, *, paused: bool) -> Sequence[Flight]:
        """The next batch of the stream."""
        if paused:
            return ()
        batch = self._reader.read(LIMIT, TIMEOUT_S)
        flights = [self._flight(event) for event in batch.events]
        with self._lock:
            if self._ahead and self._ahead[-1][0] == self._sequence:
                self._ahead.pop()  # a silent stream moves on without anything to commit: keep one position, not all
            self._ahead.append((self._sequence, batch.position))
        self.ended = batch.end
        return flights

    def state(self, through: int) -> Mapping[str, bytes | None]:
        """What to commit when every flight below sequence number `through` is through."""
        with self._lock:
            position = None
            while self._ahead and self._ahead[0][0] <= through:
                _, position = self._ahead.popleft()
        if position is None:
            return {}
        self._unconfirmed = position
        return {POSITION: orjson.dumps(position)}

    def committed(self) -> None:
        """The last state is durable: the source may forget what lies before it."""
        if self._unconfirmed is not None:
            self._reader.confirm(self._unconfirmed)
            self._unconfirmed = None

    def close(self) -> None:
        """Close the stream."""
        self._reader.close()

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
        if event.item is not None:
            items = (
                event.item.identified(
                    discriminator="", node=self._node, steps="", parent="", provenance=origin
                ),
            )
        ticket = Ticket(self._at, self._sequence)
        self._sequence += 1
        self._counters.received += 1
        self._counters.emitted += 1
        return Flight(Change(origin, event.op, items, graph=self._graph), ticket)
