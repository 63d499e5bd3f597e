"""A Kafka cluster as a maker of clients: the settings they share, their log lines and complaints."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from nvisy.errors import NvisyError, Unreachable, UsageError
from nvisy.topics.kafka.address import KafkaAddress
from nvisy.topics.kafka.faults import fault_of

ANSWER_TIMEOUT_S = 10.0
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
_ADMIN_POLL_S = 0.1

_logger = logging.getLogger("nvisy.topics")
_SHARED: Mapping[str, Any] = {
    "client.id": "nvisy",
    "retry.backoff.ms": 2,
    "retry.backoff.max.ms": 10,
    "reconnect.backoff.max.ms": 1_000,
    "topic.metadata.refresh.interval.ms": 5_000,
    "allow.auto.create.topics": False,
}
_READING: Mapping[str, Any] = {
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 8 * 1024,
}


class _DebugLines:
    """Takes the client's own log lines, which would otherwise go to stderr."""

    def log(self, _level: int, message: str, *values: object) -> None:
        _logger.debug(message, *values)


class Cluster:
    """Makes clients of one cluster.

    Attributes:
        url: How a person names it.
        complaint: What a client last reported about its connections, or empty.
    """

    def __init__(self, address: KafkaAddress) -> None:
        self.url = address.url
        self.complaint = ""
        self._settings = address.settings
        self._sign_in_failed = False
        self._admin: AdminClient | None = None

    @property
    def admin(self) -> AdminClient:
        """The client for everything but records."""
        if self._admin is None:
            self._admin = self._made(AdminClient, {"retry.backoff.ms": 50, "retry.backoff.max.ms": 500})
        return self._admin

    def close(self) -> None:
        """Let go of the client for everything but records; it is made again when it is needed."""
        self._admin = None

    def consumer(self, settings: Mapping[str, Any]) -> Consumer:
        """A reader of committed records that commits nothing by itself."""
        consumer: Consumer = self._made(Consumer, {**_READING, **settings})
        return consumer

    def producer(self, transactional_id: str) -> Producer:
        """A transactional producer: the broker fences the one that had this id before."""
        settings = {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": 10_000,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 2,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": 128 * 1024,
        }
        producer: Producer = self._made(Producer, settings)
        return producer

    def fault(self, error: Exception, doing: str) -> NvisyError:
        """The error to raise for what a client raised."""
        if isinstance(error, NvisyError):
            return error
        if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
            fault = fault_of(error.args[0], doing, self.url)
            if isinstance(fault, Unreachable) and self.complaint:
                return Unreachable(f"{fault}: {self.complaint}")
            return fault
        said = self.complaint or str(error) or "no answer"
        return Unreachable(f"{doing}: {self.url} does not answer: {said}")

    def answer(self, future: Any, doing: str) -> Any:
        """What an admin request came to."""
        try:
            return self.result(future)
        except Exception as error:
            raise self.fault(error, doing) from error

    def result(self, future: Any) -> Any:
        """What an admin request returns or raises; a sign-in that failed is raised without waiting any longer."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S + 1
        while True:
            try:
                return future.result(timeout=_ADMIN_POLL_S)
            except TimeoutError:
                self.admin.poll(0)
                if self._sign_in_failed or time.monotonic() > deadline:
                    raise

    def _made(self, kind: Any, settings: Mapping[str, Any]) -> Any:
        every = {**_SHARED, **settings, **self._settings, "error_cb": self._note}
        try:
            return kind(every, logger=_DebugLines())
        except KafkaException as error:
            raise UsageError(
                f"the settings for {self.url} are not accepted: {error.args[0].str()}"
            ) from error

    def _note(self, error: KafkaError) -> None:
        self.complaint = error.str()
        self._sign_in_failed = error.code() == KafkaError._AUTHENTICATION
        _logger.debug("%s: %s", self.url, self.complaint)
