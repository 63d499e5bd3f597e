"""A transactional producer: what the broker fences, and what makes appends and positions one commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from confluent_kafka import KafkaError, Message
from confluent_kafka import TopicPartition as KafkaPartition

from nvisy.errors import NvisyError, Unreachable
from nvisy.fault_points import Point, reach
from nvisy.topics.kafka.calls import Caller
from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.log import Append, TopicPartition

T = TypeVar("T")

_OPEN_TIMEOUT_S = 30.0
_COMMIT_TIMEOUT_S = 15.0
_ABORT_TIMEOUT_S = 5.0
_HANG_S = 5.0
"""How much longer than its own timeout a call may take before it is given up."""


class Writer:
    """Appends in transactions under one id.

    After any failure it is of no use any more, whatever the client says about retrying: the next writer of the
    same id ends its transaction.
    """

    def __init__(self, cluster: Cluster, transactional_id: str) -> None:
        self._cluster = cluster
        self._caller = Caller(transactional_id)
        self._producer = cluster.producer(transactional_id)
        self._begun = False
        self._failed = False
        self._handed = 0
        self._acknowledged = 0
        self._call(
            f"opening {transactional_id}",
            _OPEN_TIMEOUT_S,
            lambda: self._producer.init_transactions(_OPEN_TIMEOUT_S),
        )

    def append(self, records: Sequence[Append]) -> None:
        """Send records in the open transaction, beginning one if there is none."""
        try:
            self._begin()
            for topic, partition, key, value, headers in records:
                self._produce(topic, partition, key, value, headers)
            self._handed += len(records)
            self._producer.poll(0)
        except Exception as error:
            raise self._failure(error, "appending") from error

    def commit(self, positions: Mapping[TopicPartition, int], membership: Any) -> None:
        """Commit what was appended, and positions as the group member that `membership` describes."""
        if not self._begun and not positions:
            return
        doing = "committing"
        try:
            self._begin()
        except Exception as error:
            raise self._failure(error, doing) from error
        reach(Point.LOG_OPEN)
        if positions:
            offsets = [
                KafkaPartition(topic, partition, next_) for (topic, partition), next_ in positions.items()
            ]
            self._call(
                doing,
                _COMMIT_TIMEOUT_S,
                lambda: self._producer.send_offsets_to_transaction(offsets, membership, _COMMIT_TIMEOUT_S),
            )
        reach(Point.LOG_COMMIT)
        self._call(doing, _COMMIT_TIMEOUT_S, lambda: self._producer.commit_transaction(_COMMIT_TIMEOUT_S))
        self._begun = False
        if self._acknowledged != self._handed:
            counts = f"{self._acknowledged} of {self._handed} records were acknowledged"
            raise self._failure(Unreachable(f"{doing}: {counts} by {self._cluster.url}"), doing)
        self._handed = self._acknowledged = 0

    def close(self) -> None:
        """Abort what is open, so that no reader waits for it."""
        if self._begun and not self._failed:
            try:
                self._call(
                    "aborting", _ABORT_TIMEOUT_S, lambda: self._producer.abort_transaction(_ABORT_TIMEOUT_S)
                )
            except NvisyError:
                self._failed = True  # the broker ends the transaction when its time is over
        self._begun = False
        self._caller.close()

    def _begin(self) -> None:
        if not self._begun:
            self._producer.begin_transaction()
            self._begun = True

    def _produce(self, topic: str, partition: int, key: bytes, value: bytes | None, headers: Any) -> None:
        deadline: float | None = None
        while True:
            try:
                self._producer.produce(
                    topic,
                    value,
                    key,
                    partition,
                    on_delivery=self._delivered,
                    headers=list(headers) if headers else None,
                )
            except BufferError:
                now = time.monotonic()
                deadline = deadline or now + _COMMIT_TIMEOUT_S
                if now > deadline:
                    raise Unreachable(f"appending: {self._cluster.url} takes no records") from None
                self._producer.poll(0.05)
            else:
                return

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self._acknowledged += 1

    def _call(self, doing: str, timeout_s: float, function: Callable[[], T]) -> T:
        try:
            return self._caller.call(doing, timeout_s + _HANG_S, function)
        except Exception as error:
            raise self._failure(error, doing) from error

    def _failure(self, error: Exception, doing: str) -> NvisyError:
        self._failed = True
        return self._cluster.fault(error, doing)
