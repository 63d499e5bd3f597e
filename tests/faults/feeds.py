"""A source of a cell whose documents are the records of a topic that another program fills."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zlib import crc32

from nvisy.topics.log import Append, Seat
from nvisy.topics.open import open_log
from tests.faults.cell import Cell
from tests.faults.graphs import STEPS
from tests.faults.source import Source

WITHIN_S = 10.0


class Feed(Source):
    """Documents as JSON under their keys, a null to delete one: edited like a folder."""

    def __init__(self, cell: Cell, partitions: int) -> None:
        """The topic is made, and the cell's graph reads it; before the first run."""
        super().__init__(cell.folder / "docs", cell.oracle, f"{cell.setting.seed}/{cell.row}/{cell.setting}")
        self.topic = f"{cell.name}-articles"
        self.log: KafkaTopic | EmbeddedTopic = (
            KafkaTopic(cell.servers.kafka.bootstrap, self.topic)
            if cell.setting.log == "kafka"
            else EmbeddedTopic(cell.state / "log", self.topic)
        )
        self.log.create(partitions)
        cell.closing(self.log.close)
        cell.source = self
        params = {"topic": self.topic, "text": "body"}
        cell.graph["nodes"][0] = {"id": "files", "type": "source", "provider": "topic", "params": params}
        (cell.folder / "steps.py").write_text(
            STEPS.replace('(document.content or b"").decode()', "document.text")
        )

    def write(self, key: str, text: str) -> None:
        """A record with the new version."""
        self.unseen(key, text)
        self._now[key] = text
        self.oracle.says(key, text)

    def delete(self, key: str) -> None:
        """A record without a value."""
        self.unseen(key, None)
        del self._now[key]
        self.oracle.says(key, None)

    def unseen(self, key: str, text: str | None) -> None:
        """A record that the oracle is not told of."""
        self.log.send(key.encode(), None if text is None else json.dumps({"body": text}).encode())

    def made_anew(self, partitions: int, records_each: int, keys: Iterable[str]) -> None:
        """The topic is deleted and made again, with other versions of these documents and no others."""
        self.log.delete()
        self.log.create(partitions)
        for key in set(self.names()) - set(keys):
            del self._now[key]
            self.oracle.says(key, None)
        for key in keys:
            for _ in range(records_each):
                self.write(key, self.document(2))

    def mend(self) -> None:
        """Documents that fail do no longer: what is in the dead letters while a pass is swept is not in the index."""
        for key in self.oracle.letters():
            self.write(key, self.document(2))


class KafkaTopic:
    """A topic of a broker, by the client of Kafka alone; keys go to partitions in a way of its own."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        from confluent_kafka.admin import AdminClient

        self._topic = topic
        self._settings = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._admin = AdminClient(self._settings)
        self._producer = self._new_producer()
        self.partitions = 0

    def create(self, partitions: int) -> None:
        """With so many partitions; records are kept."""
        from confluent_kafka.admin import NewTopic

        future = self._admin.create_topics([NewTopic(self._topic, partitions, 1)])[self._topic]
        future.result(WITHIN_S)
        self.partitions = partitions
        self._until(there=True)

    def delete(self) -> None:
        """It is gone."""
        self._admin.delete_topics([self._topic])[self._topic].result(WITHIN_S)
        self._until(there=False)
        self._producer = self._new_producer()

    def add_partitions(self, total: int) -> None:
        """So many in all from now on; keys move."""
        from confluent_kafka.admin import NewPartitions

        self._admin.create_partitions([NewPartitions(self._topic, total)])[self._topic].result(WITHIN_S)
        until = time.monotonic() + WITHIN_S
        while (
            len(self._admin.list_topics(self._topic, timeout=WITHIN_S).topics[self._topic].partitions) < total
        ):
            if time.monotonic() > until:
                raise TimeoutError(f"{self._topic} did not get its partitions")
        self.partitions = total
        self._producer = self._new_producer()

    def send(self, key: bytes, value: bytes | None) -> None:
        """Append a record."""
        self._producer.produce(self._topic, value, key, partition=crc32(key) % self.partitions)
        if self._producer.flush(WITHIN_S):
            raise TimeoutError(f"{self._topic} takes no records")

    def expire(self) -> None:
        """Every record there is now is deleted by the broker."""
        from confluent_kafka import TopicPartition

        whole = [TopicPartition(self._topic, partition, -1) for partition in range(self.partitions)]
        for future in self._admin.delete_records(whole).values():
            future.result(WITHIN_S)

    def close(self) -> None:
        """Nothing is held open."""

    def _new_producer(self) -> Any:
        """One that knows nothing of what the topic was like before."""
        from confluent_kafka import Producer

        return Producer({**self._settings, "acks": "all", "linger.ms": 0})

    def _until(self, *, there: bool) -> None:
        until = time.monotonic() + WITHIN_S
        while (self._topic in self._admin.list_topics(timeout=WITHIN_S).topics) != there:
            if time.monotonic() > until:
                raise TimeoutError(f"{self._topic} is{' not' if there else ''} there")
            time.sleep(0.05)


class EmbeddedTopic:
    """A topic of an embedded log, which has no other client than ours."""

    def __init__(self, root: Path, topic: str) -> None:
        self._topic = topic
        self._log: Any = open_log(None, root=root, environ={})
        self.partitions = 0

    def create(self, partitions: int) -> None:
        """With so many partitions."""
        self._log.create(self._topic, partitions)
        self.partitions = partitions

    def delete(self) -> None:
        """It is gone."""
        self._log.delete(self._topic)

    def send(self, key: bytes, value: bytes | None) -> None:
        """Append a record."""
        session = self._log.session(Seat("producer", self._topic, "1", (), (self._topic,)))
        session.append([Append(self._topic, crc32(key) % self.partitions, key, value)])
        session.commit({})
        session.close()

    def close(self) -> None:
        """Let go of its files."""
        self._log.close()
