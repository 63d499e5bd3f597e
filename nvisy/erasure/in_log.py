"""What the log holds of a document: found, deleted on the way into the graph, and erased."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import orjson

from nvisy.codec.codec import Codec
from nvisy.erasure.place import Place
from nvisy.errors import NvisyError
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Plan, Stage
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance
from nvisy.runtime import dead_letters
from nvisy.runtime.codecs import ChangeDecoder, open_codec
from nvisy.runtime.memory import Memory
from nvisy.runtime.requests import append_outside
from nvisy.runtime.run_history import event_of, runs_topic, without_words
from nvisy.runtime.settings import Settings
from nvisy.runtime.view import owners_seat
from nvisy.topics.log import Append, Log, LogRecord, Seat
from nvisy.topics.partitioner import partition_of


@dataclass(slots=True)
class Traces:
    """What was found of a document.

    Attributes:
        last: Its last record in each topic of the graph that has one.
        letters: Record keys of its dead letters, closed ones too.
        hashes: Content hashes of its items, in every version that the log still had.
        blobs: Blobs that its records refer to.
    """

    last: dict[str, LogRecord] = field(default_factory=dict)
    letters: set[bytes] = field(default_factory=set)
    hashes: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        """The log knows nothing of the document."""
        return not (self.last or self.letters)


class InLog:
    """The topics of a graph. Nobody else writes to them: the caller holds the claim."""

    def __init__(self, checked: CheckedGraph, plan: Plan, log: Log, settings: Settings) -> None:
        self._checked = checked
        self._plan = plan
        self._log = log
        self._codec: Codec = open_codec(checked.catalog, settings)
        self._decoder = ChangeDecoder(self._codec)
        self._topics = [topic for topic in _topics_of(plan, log) if log.describe(topic) is not None]

    def find(self, source: str, key: str) -> Traces:
        """Everything the log holds of a document."""
        traces, name = Traces(), _name(source, key)
        for topic in self._topics:
            for record in self._in_partition(topic, name):
                if record.key == name:
                    traces.last[topic] = record
                    self._note(record, traces)
        letters = dead_letters.topic_of(self._plan.graph)
        if self._log.describe(letters) is not None:
            for record in self._log.scan(letters):
                if _is_letter_of(record.key or b"", source, key):
                    traces.letters.add(record.key or b"")
                    self._note(record, traces)
        return traces

    def delete(self, stage: Stage, source: str, key: str, traces: Traces) -> None:
        """Append a delete to the topics of a first stage, as that stage would: what is below it follows."""
        due = [
            name for name in stage.outputs if name in traces.last and not self._is_delete(traces.last[name])
        ]
        if not due:
            return
        numbers = any(inlet.kind == "source" for inlet in stage.inlets) or stage.alone
        session = self._log.session(Seat(self._plan.graph, stage.id, "", (), stage.outputs))
        try:
            infos = {name: info for name in stage.outputs if (info := self._log.describe(name)) is not None}
            inc = (
                Memory(session).incarnation({name: info.id for name, info in infos.items()}) if numbers else 0
            )
            for topic in due:
                self._codec.prepare(topic)
                before = self._decoder.decode(traces.last[topic]).origin
                version = None if numbers else before.version
                partition = traces.last[topic].partition
                origin = Provenance(
                    source,
                    key,
                    version=version,
                    partition=partition,
                    observed_at_us=time.time_ns() // 1000,
                    topic=topic if numbers else before.topic,
                )
                change = Change(origin, "delete", graph=self._plan.hash)
                value = self._codec.encode_change(change, topic, inc=inc)
                session.append([Append(topic, partition, change.message_key, value)])
            session.commit({})
        finally:
            session.close()

    def close_letters(self, source: str, key: str) -> int:
        """Close its open dead letters; how many there were."""
        graph, partitions = self._plan.graph, self._plan.partitions
        still_open = [
            letter.record_key
            for letter in dead_letters.open_entries(self._log, graph)
            if (letter.source, letter.key) == (source, key)
        ]
        self._append([dead_letters.closing(graph, one, "dropped", partitions) for one in still_open])
        return len(still_open)

    def erase(self, source: str, key: str) -> Iterator[Place]:
        """Leave nothing of it in the topics but the delete, or a tombstone, at the end."""
        name, now = _name(source, key), self.find(source, key)
        over = [last for last in now.last.values() if not self._is_delete(last)]
        self._append([Append(last.topic, last.partition, name, None) for last in over])
        for topic in self._topics:
            yield self._erased(topic, [name])
        letters = dead_letters.topic_of(self._plan.graph)
        if self._log.describe(letters) is not None:
            yield self._erased(letters, now.letters)
        for topic in self._events_topics(source):
            yield self._void(topic, key.encode())
        runs = runs_topic(self._plan.graph)
        if self._log.describe(runs) is not None:
            yield self._erased(runs, self._wordless(runs))

    def blobs_in_use(self) -> set[str]:
        """Every blob that a record of any topic of the log refers to."""
        return {
            blob
            for topic in self._log.topics()
            for record in self._log.scan(topic)
            if record.value and (blob := self._codec.blob_of(record.value, headers=record.headers))
        }

    # --- the parts ---

    def _wordless(self, runs: str) -> set[bytes]:
        """Say again what happened in former runs, without words that might quote the document; keys of these events."""
        latest = {record.key or b"": record for record in self._log.scan(runs) if record.value is not None}
        events = {key: event_of(record) for key, record in latest.items()}
        meant = {key: event for key, event in events.items() if event.get("error")}
        said = {key: orjson.dumps(without_words(event)) for key, event in meant.items()}
        changed = {key: value for key, value in said.items() if value != latest[key].value}
        self._append([Append(runs, 0, key, value) for key, value in changed.items()])
        return set(meant)

    def _erased(self, topic: str, keys: Collection[bytes]) -> Place:
        erased = self._log.erase(topic, keys)
        return Place(f"topic {topic}", erased.gone, erased.left, erased.until)

    def _void(self, topic: str, key: bytes) -> Place:
        """In a topic for other programs: what stands before the tombstone that says that all of it is void."""
        info = self._log.describe(topic)
        assert info is not None
        partition = partition_of(key, info.partitions)
        last: LogRecord | None = None
        for record in self._log.scan(topic, {**info.end, partition: info.start[partition]}):
            last = record if record.key == key else last
        if last is not None and last.value is not None:
            self._append([Append(topic, partition, key, None)])
        return self._erased(topic, [key])

    def _events_topics(self, source: str) -> list[str]:
        """Topics for other programs that the source's documents go to."""
        found = (
            self._checked.topic(outlet.node)
            for stage in self._plan.stages
            if source in self._plan.sources_of(stage)
            for outlet in stage.outlets
            if outlet.kind == "foreign"
        )
        return [topic for topic in dict.fromkeys(found) if self._log.describe(topic) is not None]

    def _in_partition(self, topic: str, name: bytes) -> Iterator[LogRecord]:
        """The records of the one partition that may hold a key."""
        info = self._log.describe(topic)
        assert info is not None
        partition = partition_of(name, info.partitions)
        return self._log.scan(topic, {**info.end, partition: info.start[partition]})

    def _note(self, record: LogRecord, traces: Traces) -> None:
        if not record.value:
            return
        if blob := self._codec.blob_of(record.value, headers=record.headers):
            traces.blobs.add(blob)
        try:
            change = self._decoder.decode(record)
        except NvisyError:  # the bytes of a dead letter, which may be anything
            return
        traces.hashes |= {item.content_hash for item in change.items}

    def _is_delete(self, record: LogRecord) -> bool:
        try:
            return self._decoder.decode(record).op == "delete"
        except NvisyError:  # whatever it is, it has to go
            return False

    def _append(self, records: list[Append]) -> None:
        if records:
            append_outside(self._log, self._plan.graph, owners_seat(self._plan.graph).stage, records)


def _name(source: str, key: str) -> bytes:
    """The key of a document's records."""
    return f"{source}/{key}".encode()


def _is_letter_of(record_key: bytes, source: str, key: str) -> bool:
    return record_key.split(b"/", 2)[2:] == [_name(source, key)]


def _topics_of(plan: Plan, log: Log) -> list[str]:
    """The topics of a graph, those that it no longer has too: their names begin with its id, which holds no dot."""
    ours = f"{plan.graph}."
    others = {dead_letters.topic_of(plan.graph), f"{ours}requests", f"{ours}state", f"{ours}runs"}
    former = (name for name in log.topics() if name.startswith(ours) and name not in others)
    return list(dict.fromkeys([*(topic.name for topic in plan.topics), *former]))
