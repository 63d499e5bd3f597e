"""Reading topics outside any group: from somewhere to the end as it is now, or one record."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from nvisy.errors import Unreachable
from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.kafka.faults import fault_of
from nvisy.topics.log import LogRecord, TopicInfo

_PATIENCE_S = 30.0
_BATCH = 1_000


def record_of(message: Message) -> LogRecord:
    """A message as a record."""
    headers: Any = message.headers()
    return LogRecord(
        message.topic(),  # type: ignore[arg-type]
        message.partition(),  # type: ignore[arg-type]
        message.offset(),  # type: ignore[arg-type]
        message.key(),
        message.value(),
        tuple(headers) if headers else (),
        message.timestamp()[1],
    )


def take(consumer: Consumer, limit: int, timeout_s: float) -> list[Message]:
    """Up to `limit` messages as soon as there is one: `consume` alone would wait for all of them."""
    first = consumer.poll(timeout_s)
    if first is None:
        return []
    return [first, *consumer.consume(limit - 1, 0)] if limit > 1 else [first]


def scan(cluster: Cluster, info: TopicInfo, start: Mapping[int, int]) -> Iterator[LogRecord]:
    """Every record of a topic from `start` to the ends in `info`."""
    firsts = {p: max(start.get(p, 0), first) for p, first in info.start.items()}
    left = {p: end for p, end in info.end.items() if firsts[p] < end}
    if not left:
        return
    consumer = cluster.consumer({"group.id": "nvisy.scan", "auto.offset.reset": "earliest"})
    with closing(consumer):
        consumer.assign([KafkaPartition(info.name, p, firsts[p]) for p in left])
        deadline = time.monotonic() + _PATIENCE_S
        while left:
            messages = _taken(cluster, consumer, info.name)
            if messages:
                deadline = time.monotonic() + _PATIENCE_S
            elif time.monotonic() > deadline:
                raise Unreachable(
                    f"reading topic {info.name!r}: no answer from {cluster.url}: {cluster.complaint}"
                )
            for message in messages:
                yield from _within(message, left, cluster.url)


def _taken(cluster: Cluster, consumer: Consumer, topic: str) -> list[Message]:
    try:
        return take(consumer, _BATCH, 0.2)
    except KafkaException as error:
        raise cluster.fault(error, f"reading topic {topic!r}") from error


def _within(message: Message, left: dict[int, int], url: str) -> Iterator[LogRecord]:
    """The record in a message, if it is still below the end of its partition; ends met are taken out of `left`."""
    error = message.error()
    partition, offset = message.partition(), message.offset()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise fault_of(error, f"reading topic {message.topic()!r}", url)
    if partition is None or offset is None or partition not in left:
        return
    if error is None and offset < left[partition]:
        yield record_of(message)
    if (offset if error is not None else offset + 1) >= left[partition]:
        del left[partition]


def read(cluster: Cluster, info: TopicInfo, partition: int, offset: int) -> LogRecord | None:
    """The record at one offset, or None."""
    if not info.start.get(partition, 0) <= offset < info.end.get(partition, 0):
        return None
    only = replace(info, start={partition: offset}, end={partition: offset + 1})
    return next((record for record in scan(cluster, only, {partition: offset})), None)
