"""One sink of a graph as `verify` sees it: its index, the topic before it, and how far one has followed the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import cached_property

from nvisy.audit.expected import Expected, Made, Making, expected_of
from nvisy.audit.judging import Drift, Head, HeldFingerprint, Judge
from nvisy.audit.ledger import Place
from nvisy.connector.descriptor import SinkDescriptor
from nvisy.connector.sink import Index, RecordSet
from nvisy.errors import Refused
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Plan
from nvisy.primitives.provenance import Version
from nvisy.runtime.dead_letters import open_entries
from nvisy.runtime.forgotten import forgotten_keys
from nvisy.runtime.history import History
from nvisy.runtime.memory import Memory
from nvisy.runtime.numbering import Numbering
from nvisy.runtime.records import lane_of
from nvisy.runtime.seating import seat_config
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink
from nvisy.topics.log import Log, LogRecord, Seat, TopicPartition

NOBODYS, OTHERS = -1, -2
"""Instead of the number of a lane: it is of no source of the graph; it is not looked at here."""


class Holdings:
    """What one sink holds, and what the log says of it. Takes no seat and changes nothing."""

    def __init__(self, checked: CheckedGraph, plan: Plan, sink: str, log: Log, settings: Settings) -> None:
        """Open the index.

        Raises:
            Refused: There is no collection yet, or it was written from another log.
            Unreachable: The store does not answer.
        """
        self.sink = sink
        self._checked = checked
        self._plan = plan
        self._log = log
        self._settings = settings
        self._closing = ExitStack()
        self.stage = next(stage for stage in plan.stages if sink in stage.sinks)
        self.sources = sorted(plan.sources_of(self.stage))
        self._numbers = {lane_of(plan.graph, sink, name): n for n, name in enumerate(self.sources)}
        self.index = self._closing.enter_context(closing(self._index(sink)))
        if self.index.log != log.id:
            self.close()
            raise Refused(
                f"the index of sink {sink!r} was written from the log {self.index.log!r}, and this is the log"
                f" {log.id!r}, which says nothing about it: name the former log, or run with --adopt first"
            )
        descriptor = checked.nodes[sink].descriptor
        assert isinstance(descriptor, SinkDescriptor)
        self.judge = Judge(
            sink, self.index.keeps_vectors, is_conditional=descriptor.capabilities.guarantee == "conditional"
        )
        forgotten = forgotten_keys(log, plan.graph, checked.nodes)
        self.making = Making(
            checked, self.stage, sink, self._numberings(), dict(self._lanes()), settings, forgotten
        )
        self._closing.callback(self.making.close)
        self._read_up_to: dict[TopicPartition, int] = {}

    def close(self) -> None:
        """Let go of everything. May be called twice."""
        self._closing.close()

    # --- what the log says ---

    @property
    def topics(self) -> list[str]:
        """The topics before the sink; none where its stage reads the source itself."""
        return [inlet.name for inlet in self.stage.inlets if inlet.kind != "source"]

    @property
    def unlogged(self) -> set[int]:
        """Numbers of the lanes of sources that no topic lies behind: the log says nothing of them."""
        ours = {inlet.node for inlet in self.stage.inlets if inlet.kind == "source"}
        return {number for number, name in enumerate(self.sources) if name in ours}

    def read_on(self) -> Iterator[tuple[Place, Expected]]:
        """What the log says of each change since the last call, to where its topics end now."""
        for made in self.making.of(self._records()):
            if (place := self._place(made)) is not None:
                yield place, expected_of(made, keeps_vectors=self.index.keeps_vectors)

    def sets_of(self, records: Iterator[LogRecord]) -> Iterator[RecordSet]:
        """What records of the topics before the sink are made into, whole."""
        for made in self.making.of(records):
            if made.set is not None and self._place(made) is not None:
                yield made.set

    def committed(self) -> Mapping[TopicPartition, int]:
        """How far the stage of the sink has come: everything below is applied.

        Nothing in a partition that the stage will read from its beginning, since it, or the collection, is another one
        than when it read it last.
        """
        seat = self._seat(self._config)
        memory = self._memory()
        return {
            at: offset if memory.is_configured(self._config, at.partition) else 0
            for at, (offset, _) in self._log.lag(seat).items()
        }

    def swept(self) -> Mapping[str, int]:
        """By source: the incarnation below which the sink was rid of everything."""
        memory = self._memory()
        return {source: memory.swept(source) for source in self.sources}

    def letters(self) -> Mapping[tuple[str, str], int]:
        """By source and key: the version of the open dead letter that the stage wrote on the way to the sink."""
        return {
            (letter.source, letter.key): letter.version
            for letter in open_entries(self._log, self._plan.graph)
            if letter.stage == self.stage.id and letter.outlet == self.sink
        }

    def n_incomplete(self) -> int:
        """How many partitions before the sink no longer begin with their first record."""
        infos = [info for topic in self.topics if (info := self._log.describe(topic)) is not None]
        return sum(1 for info in infos for start in info.start.values() if start)

    # --- what the index holds ---

    def heads(self, keys: Collection[str] | None = None) -> Iterator[tuple[Place, Head]]:
        """What the index remembers of its keys, those of other sinks left out."""
        with_records = bool(self.making.why_not or self.unlogged) or keys is not None
        for held in self.index.heads(keys):
            number = self._number(held.lane)
            if number >= 0:
                yield (held.key, number), Head.of(held, with_records=with_records)

    def records(self, keys: Collection[str] | None = None) -> Iterator[tuple[Place, HeldFingerprint]]:
        """The records of the index, those of other sinks left out."""
        with_payload = bool(self.making.why_not or self.unlogged) or keys is not None
        for held in self.index.held(keys):
            number = self._number(held.hit.lineage["lane"] or "")
            if number != OTHERS:
                one = HeldFingerprint.of(
                    held, keeps_vectors=self.index.keeps_vectors, with_payload=with_payload
                )
                yield (held.hit.key, number), one

    # --- the two together ---

    def differences(
        self,
        place: Place,
        expected: Expected | None,
        head: Head | None,
        records: Mapping[str, HeldFingerprint],
    ) -> list[Drift]:
        """What the index holds of a key otherwise than it has to."""
        key, number = place
        if number == NOBODYS:
            return list(self.judge.of_none(key, records.values()))
        source = self.sources[number]
        if number in self.unlogged or (expected is not None and expected.failed):
            return self.within(place, head, records)
        if expected is None:
            return list(self.judge.unknown_to_log(key, source, head, records))
        judged = self.judge.by_log if expected.is_known else self.judge.by_version
        return list(judged(key, source, expected, head, records))

    def within(self, place: Place, head: Head | None, records: Mapping[str, HeldFingerprint]) -> list[Drift]:
        """What of a key contradicts its own head, whatever the log says."""
        return list(self.judge.without_log(place[0], self.sources[place[1]], head, records))

    def lane(self, number: int) -> str:
        """The lane of a number."""
        return lane_of(self._plan.graph, self.sink, self.sources[number])

    @cached_property
    def _config(self) -> str:
        """What the seat of the stage is configured as, with the collections that there are now."""
        others = [name for name in self.stage.sinks if name != self.sink]
        ids = {self.sink: self.index.collection}
        for name in others:
            with closing(self._index(name)) as index:
                ids[name] = index.collection
        absences = History.of(self._log, self._plan.graph).absences.get(self.stage.id, 0)
        return seat_config(self.stage, [ids[name] for name in self.stage.sinks], absences)

    def _index(self, sink: str) -> Index:
        generation = self.stage.generation(sink)
        _, opened = open_sink(self._checked, sink, self._settings.state, generation)
        return opened.index(own=True) if opened.capabilities.generations else opened.index()

    def _lanes(self) -> Iterator[tuple[str, str]]:
        return ((source, lane_of(self._plan.graph, self.sink, source)) for source in self.sources)

    @cached_property
    def _others(self) -> frozenset[str]:
        """Lanes that other sinks of the graph have in the same collection, and those of stamps."""
        graph, nodes = self._plan.graph, [node.id for node in self._checked.graph.nodes]
        sinks = [sink for stage in self._plan.stages for sink in stage.sinks]
        theirs = {lane_of(graph, sink, source) for sink in sinks if sink != self.sink for source in nodes}
        return frozenset(theirs | {lane_of(graph, sink, "") for sink in sinks})

    def _number(self, lane: str) -> int:
        if (number := self._numbers.get(lane)) is not None:
            return number
        return OTHERS if self.index.is_shared or lane in self._others else NOBODYS

    def _place(self, made: Made) -> Place | None:
        if made.source not in self.sources:
            return None  # of a node that the graph no longer has
        return made.key, self.sources.index(made.source)

    def _seat(self, config: str) -> Seat:
        return Seat(self._plan.graph, self.stage.id, config, self.stage.inputs, self.stage.outputs)

    def _memory(self) -> Memory:
        return Memory.seen(self._log.state(self._seat("")))

    def _numberings(self) -> Mapping[str, Numbering]:
        memory = self._memory()
        return {
            inlet.name: memory.numbering(inlet.name) or Numbering.begun(info, 1)
            for inlet in self.stage.inlets
            if inlet.kind == "foreign" and (info := self._log.describe(inlet.name)) is not None
        }

    def _records(self) -> Iterator[LogRecord]:
        """The records of the topics that were not read yet, to where these end now."""
        begins = {
            (inlet.name, partition): offset
            for inlet in self.stage.inlets
            for partition, offset in inlet.starts
        }
        for topic in self.topics:
            if (info := self._log.describe(topic)) is None:
                continue
            start = {
                partition: self._read_up_to.get(
                    TopicPartition(topic, partition), max(first, begins.get((topic, partition), 0))
                )
                for partition, first in info.start.items()
            }
            if all(start[partition] >= end for partition, end in info.end.items()):
                continue
            for record in self._log.scan(topic, start):
                self._read_up_to[TopicPartition(topic, record.partition)] = record.offset + 1
                yield record


def is_swept(expected: Expected, source: str, swept: Mapping[str, int]) -> bool:
    """Whether a full pass over the source did not confirm a change, and the sink was rid of what it had left."""
    return Version.of(expected.version).inc < swept.get(source, 0)
