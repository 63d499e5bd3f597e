"""What the loops over Kafka share: a consumer that commits by hand, a producer that is idempotent, no transactions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from confluent_kafka import Consumer, Message, Producer

from bench.baselines.avro import CHUNKED, DOCUMENT, decode
from bench.baselines.pgvector import Row
from bench.graphs import CHUNK_SIZE
from nvisy.text.split import split

BATCH = 500
COMMIT_S = 0.5

__all__ = ["BATCH", "CHUNKED", "DOCUMENT", "batches", "consumer", "cut", "decode", "producer"]


def consumer(bootstrap: str, topic: str, group: str) -> Consumer:
    """A reader of a topic from its beginning, which has got its partitions."""
    made = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,
        }
    )
    made.subscribe([topic])
    return made


def producer(bootstrap: str) -> Producer:
    """A producer that doubles nothing within its life."""
    return Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.kbytes": 256 << 10,
            "queue.buffering.max.messages": 1_000_000,
        }
    )


def batches(source: Consumer, count: int, commit: Callable[[], None]) -> Iterator[Sequence[Message]]:
    """The next `count` messages as they come; `commit` is called every half second, and at the end."""
    committed_at = time.monotonic()
    while count > 0:
        first = source.poll(1.0)
        if first is None:
            continue
        messages = [one for one in (first, *source.consume(BATCH - 1, 0)) if one.error() is None]
        if not messages:
            continue
        count -= len(messages)
        yield messages
        if count <= 0 or time.monotonic() - committed_at > COMMIT_S:
            commit()
            committed_at = time.monotonic()


def cut(key: str, text: str) -> list[Row]:
    """The chunks of a document, as rows."""
    return [
        (f"{key}#{ordinal}", key, text[start:end], start, end)
        for ordinal, (start, end) in enumerate(split(text, CHUNK_SIZE))
    ]
