"""Which documents are among the dead letters, asked of the log itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol


class Letters(Protocol):
    """The dead letters of one graph."""

    def open(self) -> set[str]:
        """Keys of documents with an open entry."""

    def close(self) -> None:
        """Let go of everything."""


class EmbeddedLetters:
    """In the file of the topic."""

    def __init__(self, log: Path, graph: str) -> None:
        self._path = log / "topics" / f"{graph}.dlq.db"

    def open(self) -> set[str]:
        if not self._path.exists():
            return set()
        latest: dict[bytes, bool] = {}
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            try:
                rows = connection.execute("SELECT key, value IS NOT NULL FROM record ORDER BY row").fetchall()
            except sqlite3.OperationalError:  # it is being made
                return set()
        latest.update(rows)
        return _documents(latest)

    def close(self) -> None:
        """Nothing is held."""


class KafkaLetters:
    """In the topic; one consumer reads on."""

    def __init__(self, bootstrap: str, graph: str) -> None:
        self._bootstrap = bootstrap
        self._topic = f"{graph}.dlq"
        self._latest: dict[bytes, bool] = {}
        self._consumer: Any = None

    def open(self) -> set[str]:
        from confluent_kafka import TopicPartition

        if self._consumer is None and not self._connect():
            return set()
        ends = {
            part.partition: self._consumer.get_watermark_offsets(part, timeout=10)[1]
            for part in self._consumer.assignment()
        }
        while True:
            for message in self._consumer.consume(500, 0.1):
                if message.error() is None:
                    self._latest[message.key()] = message.value() is not None
            at = self._consumer.position([TopicPartition(self._topic, p) for p in ends])
            # what follows the last record (a commit's marker) is no record, and the position may stop before it
            if all(place.offset >= ends[place.partition] or ends[place.partition] == 0 for place in at):
                return _documents(self._latest)

    def _connect(self) -> bool:
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": f"faults-{self._topic}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
            }
        )
        found = consumer.list_topics(self._topic, timeout=10).topics[self._topic]
        if found.error is not None:
            consumer.close()
            return False
        consumer.assign([TopicPartition(self._topic, p, OFFSET_BEGINNING) for p in found.partitions])
        self._consumer = consumer
        return True

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()


def _documents(latest: Mapping[bytes, bool]) -> set[str]:
    """Keys of the entries that are open are `stage/outlet/source/key`."""
    return {key.decode().split("/", 3)[3] for key, is_open in latest.items() if is_open}
