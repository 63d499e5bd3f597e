"""Topics of the workloads on a broker."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from bench import documents
from bench.baselines.avro import DOCUMENT, encode

PARTITIONS = 4
ARTICLE = '{"type":"record","name":"Article","fields":[{"name":"id","type":"string"},{"name":"text","type":"string"}]}'


def create(bootstrap: str, *names: str, partitions: int = PARTITIONS) -> None:
    """Make topics."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics([NewTopic(name, partitions, 1) for name in names]).values():
        future.result()


def delete(bootstrap: str, prefix: str) -> None:
    """Delete the topics whose names begin like this, so that the disk does not fill."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    names = [name for name in admin.list_topics(timeout=10).topics if name.startswith(prefix)]
    for future in admin.delete_topics(names).values() if names else ():
        future.result()


def fill(bootstrap: str, topic: str, path: Path, schema_id: int) -> None:
    """Put the documents of a file into a topic, as Avro."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "acks": "all"})
    for key, text in documents.read(path):
        value = encode(DOCUMENT, {"id": key, "text": text}, schema_id)
        while True:
            try:
                producer.produce(topic, value, key.encode())
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()
