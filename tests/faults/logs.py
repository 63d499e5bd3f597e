"""What the log holds, read by SQLite's and Kafka's own clients: dead letters, and the versions in topics."""

from __future__ import annotations

import io
import json
import sqlite3
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import fastavro

_OFFSET_BITS = 40
_PATIENCE_S = 60.0


class Record(NamedTuple):
    """A record of a topic, in the order of its partition."""

    partition: int
    offset: int
    key: bytes
    value: bytes | None


class Topics(Protocol):
    """The topics of one graph."""

    def names(self) -> list[str]:
        """Names of those that hold changes: all but the dead letters, the state and requests."""

    def records(self, topic: str) -> Sequence[Record]:
        """Everything in a topic; nothing where it is not there yet."""

    def close(self) -> None:
        """Let go of everything."""


class EmbeddedTopics:
    """Files of an embedded log."""

    def __init__(self, log: Path, graph: str) -> None:
        self._folder = log / "topics"
        self._graph = graph

    def names(self) -> list[str]:
        return _changes(self._graph, [path.stem for path in self._folder.glob("*.db")])

    def records(self, topic: str) -> Sequence[Record]:
        path = self._folder / f"{topic}.db"
        if not path.exists():
            return []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            try:
                rows = connection.execute("SELECT row, key, value FROM record ORDER BY row").fetchall()
            except sqlite3.OperationalError:  # it is being made
                return []
        low = (1 << _OFFSET_BITS) - 1
        return [Record(row >> _OFFSET_BITS, row & low, key, value) for row, key, value in rows]

    def close(self) -> None:
        """Nothing is held."""


class KafkaTopics:
    """Topics of a broker; one consumer for each reads on where it stopped."""

    def __init__(self, bootstrap: str, graph: str) -> None:
        self._bootstrap = bootstrap
        self._graph = graph
        self._found: dict[str, list[Record]] = {}
        self._consumers: dict[str, Any] = {}

    def names(self) -> list[str]:
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self._bootstrap})
        return _changes(self._graph, admin.list_topics(timeout=10).topics)

    def records(self, topic: str) -> Sequence[Record]:
        from confluent_kafka import KafkaException

        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._read_on(topic)
            except KafkaException:  # the broker was harmed: another client knows nothing of that
                if time.monotonic() > until:
                    raise
                self._found.pop(topic, None)
                if topic in self._consumers:
                    self._consumers.pop(topic).close()
                time.sleep(0.2)

    def _read_on(self, topic: str) -> Sequence[Record]:
        consumer = self._consumers.get(topic) or self._connect(topic)
        if consumer is None:
            return []
        found = self._found.setdefault(topic, [])
        ends = {
            place.partition: consumer.get_watermark_offsets(place, timeout=10)[1]
            for place in consumer.assignment()
        }
        while True:
            for message in consumer.consume(500, 0.05):
                if message.error() is None:
                    found.append(
                        Record(message.partition(), message.offset(), message.key(), message.value())
                    )
            at = {place.partition: place.offset for place in consumer.position(consumer.assignment())}
            if all(at[partition] >= end or end == 0 for partition, end in ends.items()):
                return found

    def close(self) -> None:
        for consumer in self._consumers.values():
            consumer.close()
        self._consumers = {}

    def _connect(self, topic: str) -> Any:
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": f"faults-{topic}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
                "log_level": 0,
            }
        )
        found = consumer.list_topics(topic, timeout=10).topics[topic]
        if found.error is not None:
            consumer.close()
            return None
        consumer.assign(
            [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found.partitions]
        )
        self._consumers[topic] = consumer
        return consumer


def _changes(graph: str, names: Iterable[str]) -> list[str]:
    aside = tuple(f"{graph}.{name}" for name in ("dlq", "state", "requests", "runs"))
    return sorted(name for name in names if name.startswith(f"{graph}.") and name not in aside)


def letters(topics: Topics, graph: str) -> set[str]:
    """Keys of the documents with an open dead letter."""
    latest = {record.key: record.value is not None for record in topics.records(f"{graph}.dlq")}
    return {key.decode().split("/", 3)[3] for key, is_open in latest.items() if is_open}


def falls(topics: Topics, schemas: Iterable[Path], *, repeats: bool) -> list[str]:
    """Where the versions of a key fall within a topic, one sentence each.

    Args:
        topics: The topics.
        schemas: Files named `<id>.avsc`, of all schemas that there are.
        repeats: A stage has read its input again: what it wrote again may be old, but the last version of a key, which
            compaction leaves, has to be its highest.
    """
    known = {int(path.stem): fastavro.parse_schema(json.loads(path.read_bytes())) for path in schemas}
    fallen: list[str] = []
    for topic in topics.names():
        versions: dict[bytes, list[tuple[int, int]]] = {}
        for record in topics.records(topic):
            if (version := _version(record, known)) is not None:
                versions.setdefault(record.key, []).append(version)
        for key, of_key in versions.items():
            wrong = of_key[-1] != max(of_key) if repeats else of_key != sorted(of_key)
            fallen += [f"{topic}: {key!r} has {of_key}"] if wrong else []
    return fallen


def _version(record: Record, schemas: dict[int, Any]) -> tuple[int, int] | None:
    """(incarnation, offset) of a change; in its origin topic the offset is its own. None for what is no change."""
    if record.value is None:
        return None
    _, schema = struct.unpack_from(">bI", record.value)
    change: Any = fastavro.schemaless_reader(io.BytesIO(record.value[5:]), schemas[schema], None)
    if change.get("type") != "Change":
        return None
    return change["inc"], record.offset if change["off"] is None else change["off"]
