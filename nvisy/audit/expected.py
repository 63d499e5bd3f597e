"""What the log says that an index has to hold: the latest change of each key in the topic before the sink.

The topic holds the last change of every key, whole. What the stage of the sink makes of it is made again here, by the
same steps and the same `record_set`, where these steps cost nothing and always give the same. Where they ask a model or
call a function of the user's, only key, version and place are known, and records are held against their head instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple, Self

import orjson

from nvisy.audit.fingerprints import Fingerprint, ids_hash, of_expected
from nvisy.connector.descriptor import ActionDescriptor
from nvisy.connector.sink import RecordSet
from nvisy.errors import Rejected
from nvisy.graph.model import BranchNode
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Stage
from nvisy.runtime.building import Steps
from nvisy.runtime.codecs import Codecs
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.numbering import Numbering
from nvisy.runtime.outlets import Patience
from nvisy.runtime.records import record_set
from nvisy.runtime.retry import RetryPolicy
from nvisy.runtime.settings import Settings
from nvisy.runtime.steps import JoinStep, RouteStep, port_of
from nvisy.runtime.window import Window
from nvisy.topics.log import LogRecord, TopicPartition

BATCH = 500


class Expected(NamedTuple):
    """The latest change of a key, as far as a sink is concerned.

    Attributes:
        version: Number of its version.
        topic: The topic before the sink that it was read from, with `partition` and `offset`.
        failed: Why the stage of the sink could make nothing of it, or empty.
        digest: Of its record set; None where that is not known.
        ids: Hash of what its head says of its records.
        records: By id; None where they are not known.
    """

    version: int
    topic: str
    partition: int
    offset: int
    failed: str = ""
    digest: str | None = ""
    ids: int = 0
    records: Mapping[str, Fingerprint] | None = None

    @property
    def at(self) -> TopicPartition:
        """Where it was read."""
        return TopicPartition(self.topic, self.partition)

    @property
    def is_known(self) -> bool:
        """Whether its records are."""
        return self.records is not None

    def pack(self) -> bytes:
        """To be kept on disk."""
        known = None if self.records is None else {name: tuple(one) for name, one in self.records.items()}
        return orjson.dumps((*self[:-1], known))

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """What `pack` wrote."""
        plain: list[Any] = orjson.loads(value)
        if plain[-1] is not None:
            plain[-1] = {name: Fingerprint(*one) for name, one in plain[-1].items()}
        return cls(*plain)

    @classmethod
    def latest(cls, packed: Sequence[bytes]) -> Self | None:
        """The newest of several changes of one key, in the order of the log: of equal versions the later one."""
        newest: Self | None = None
        for value in packed:
            newest = cls.unpack(value).after(newest)
        return newest

    def after(self, other: Self | None) -> Self:
        """The newer of this change and one that stands before it in the log."""
        return self if other is None or self.version >= other.version else other


class Made(NamedTuple):
    """A change of the topic before the sink, and what the stage makes of it: nothing where that is not known."""

    record: LogRecord
    source: str
    key: str
    version: int
    set: RecordSet | None
    failed: str = ""


class Making:
    """Makes again what a stage makes of the records of its topics for one sink. Writes nothing.

    Attributes:
        why_not: Why the records of the sink cannot be made again, or empty.
    """

    def __init__(
        self,
        checked: CheckedGraph,
        stage: Stage,
        sink: str,
        numberings: Mapping[str, Numbering],
        lanes: Mapping[str, str],
        settings: Settings,
        forgotten: Mapping[str, frozenset[str]],
    ) -> None:
        """`lanes`: by source node. `forgotten`: likewise, keys of documents that are to stay away."""
        self._sink = sink
        self._lanes = lanes
        self._closing = ExitStack()
        way = _way_to(stage, sink)
        self._stage = replace(stage, nodes=tuple(node for node in stage.nodes if node in way))
        self.why_not = next(filter(None, (_why_not(checked, node) for node in self._stage.nodes)), "")
        codecs = Codecs(checked, settings, forgotten=forgotten)
        self._decoders = {
            inlet.name: codecs.decoder(inlet, numberings.get(inlet.name))
            for inlet in stage.inlets
            if inlet.kind != "source"
        }
        self._steps = self._open_steps(checked, settings)

    def of(self, records: Iterator[LogRecord]) -> Iterator[Made]:
        """What becomes of these records, in their order."""
        while batch := list(islice(records, BATCH)):
            yield from self._batch(batch)

    def arriving(self, records: Iterator[LogRecord]) -> Iterator[Flight]:
        """What of these records arrives at the sink, or at whichever node is named in its place, in any order."""
        while batch := list(islice(records, BATCH)):
            yield from self._arrived([self._flight(record) for record in batch])

    def close(self) -> None:
        """Close what the steps opened. May be called twice."""
        self._closing.close()

    def _open_steps(self, checked: CheckedGraph, settings: Settings) -> Mapping[str, Any]:
        if self.why_not or not self._stage.nodes:
            return {}
        patience = Patience(RetryPolicy(max_retries=3), lambda _error, _delay_s: None, lambda: False)
        steps = Steps(checked, self._stage, settings.state, StageCounters(), patience)
        self._closing.callback(steps.close)
        return steps.by_node

    def _batch(self, records: Sequence[LogRecord]) -> Iterator[Made]:
        read = [self._flight(record) for record in records]
        if self.why_not:
            yield from (self._unmade(flight, record) for flight, record in zip(read, records, strict=True))
            return
        made = {flight.ticket: flight for flight in self._arrived(read)}
        for flight, record in zip(read, records, strict=True):
            yield self._made(made[flight.ticket], record)

    def _flight(self, record: LogRecord) -> Flight:
        ticket = Ticket(TopicPartition(record.topic, record.partition), record.offset)
        decoder = self._decoders[record.topic]
        try:
            return Flight(decoder.decode(record), ticket)
        except Rejected as error:
            failure = Failure(record.topic, error.kind, str(error))
            return Flight(decoder.unknown(record), ticket, failure=failure)

    def _arrived(self, flights: list[Flight]) -> list[Flight]:
        """The flights as they arrive at the sink: what `build_flow` makes of the stage, a batch at once."""
        stage = self._stage
        ports: dict[tuple[str, str], list[Flight]] = {
            (inlet.name, ""): [flight for flight in flights if flight.ticket.at.topic == inlet.name]
            for inlet in stage.inlets
        }
        for node in stage.nodes:
            arriving, step = self._arriving(node, ports), self._steps.get(node)
            if isinstance(step, RouteStep):
                routed = step(arriving)
                for port in {wire.port for wire in stage.wires if wire.origin == node}:
                    ports[node, port] = port_of(port)(routed)
            else:
                assert not isinstance(step, Window), f"{node} asks a model"
                ports[node, ""] = arriving if step is None else step(arriving)
        return self._arriving(self._sink, ports)

    def _arriving(self, name: str, ports: Mapping[tuple[str, str], list[Flight]]) -> list[Flight]:
        merged = [flight for wire in self._stage.into(name) for flight in ports[wire.origin, wire.port]]
        arity = self._stage.arity(name)
        return merged if all(ways == 1 for ways in arity.values()) else JoinStep(arity)(merged)

    def _made(self, flight: Flight, record: LogRecord) -> Made:
        origin = flight.change.origin
        version = origin.version.number if origin.version else 0
        if flight.failure is not None:
            return Made(record, origin.source, origin.key, version, None, flight.failure.message)
        lane = self._lanes.get(origin.source, "")
        return Made(record, origin.source, origin.key, version, record_set(flight.change, lane, self._sink))

    def _unmade(self, flight: Flight, record: LogRecord) -> Made:
        """What is known without making it: nothing comes of nothing."""
        if flight.failure is not None or not flight.change.items:
            return self._made(flight, record)
        origin = flight.change.origin
        return Made(record, origin.source, origin.key, origin.version.number if origin.version else 0, None)


def expected_of(made: Made, *, keeps_vectors: bool) -> Expected:
    """What is compared of a change."""
    at = (made.record.topic, made.record.partition, made.record.offset)
    if made.set is None:
        return Expected(made.version, *at, made.failed, None)
    ids = {record.id: (record.vector_hash, record.payload_hash) for record in made.set.records}
    records = {
        record.id: of_expected(record, made.source, keeps_vectors=keeps_vectors)
        for record in made.set.records
    }
    return Expected(made.version, *at, "", made.set.digest, ids_hash(ids), records)


def _way_to(stage: Stage, sink: str) -> set[str]:
    """The nodes of a stage whose output gets to a sink."""
    way: set[str] = set()
    behind = [sink]
    while behind:
        origins = {wire.origin for wire in stage.into(behind.pop())} - way
        way |= origins
        behind += origins
    return way


def _why_not(checked: CheckedGraph, node: str) -> str:
    found = checked.nodes[node]
    if isinstance(found.node, BranchNode) or not isinstance(found.descriptor, ActionDescriptor):
        return ""
    if found.descriptor.is_repeatable and not found.models:
        return ""
    asks = "asks a model" if found.models else f"is a {found.descriptor.name!r}, which may do anything"
    return (
        f"node {node!r} between the topic and the sink {asks}, so its work is not done again: records are held against"
        f' their head, which the topic confirms key by key; a "topic" on the edge behind {node!r} allows more'
    )
