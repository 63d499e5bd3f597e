"""Dead letters: changes that could not go on, kept in `<graph>.dlq` with their bytes and their cause.

An entry is one record, keyed by stage, outlet, source and key, so that a key has one open entry per way at the most. It
is closed by a tombstone that says why, in the commit in which a later version of the key, or the same one after a
repair, passes that stage.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nvisy.primitives.provenance import Version
from nvisy.runtime.flight import Flight
from nvisy.topics.log import Append, Headers, Log, LogRecord
from nvisy.topics.partitioner import partition_of

MAX_BYTES = 1 << 20
"""Larger originals stay where they are: the entry then holds their uri, size and hash."""


def topic_of(graph: str) -> str:
    """The topic of a graph's dead letters."""
    return f"{graph}.dlq"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One open entry, as a person reads it.

    Attributes:
        id: Its offset and partition, `offset-partition`: short, and stable while it is open.
        original: The bytes that failed; empty where they were too large to keep (`size` tells).
    """

    id: str
    stage: str
    outlet: str
    source: str
    key: str
    node: str
    kind: str
    message: str
    retryable: bool
    attempts: int
    version: int
    uri: str
    size: int
    sha256: str
    run: str
    failed_at_ms: int
    original: bytes

    def as_json(self) -> dict[str, Any]:
        """Everything but the bytes."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "original"}
        version = Version.of(self.version)
        return {**fields, "version": list(version)}


def entry_key(stage: str, outlet: str, flight: Flight) -> bytes:
    """The key under which a flight's dead letter is kept."""
    origin = flight.change.origin
    return f"{stage}/{outlet}/{origin.source}/{origin.key}".encode()


def entry(graph: str, stage: str, outlet: str, flight: Flight, partitions: int) -> Append:
    """The record that keeps a failed flight."""
    assert flight.failure is not None
    key = entry_key(stage, outlet, flight)
    kept = flight.raw if len(flight.raw) <= MAX_BYTES else b""
    return Append(topic_of(graph), partition_of(key, partitions), key, kept, _headers(graph, stage, flight))


def closing(graph: str, key: bytes, reason: str, partitions: int) -> Append:
    """The tombstone that closes an entry: `resolved`, `superseded`, `gone` or `dropped`."""
    headers = (("nvisy.closed", reason.encode()),)
    return Append(topic_of(graph), partition_of(key, partitions), key, None, headers)


def open_entries(log: Log, graph: str) -> Iterator[DeadLetter]:
    """Every entry that is open now, oldest first."""
    if log.describe(topic_of(graph)) is None:
        return
    latest: dict[bytes, LogRecord | None] = {}
    for record in log.scan(topic_of(graph)):
        latest.pop(record.key or b"", None)
        latest[record.key or b""] = record if record.value is not None else None
    yield from (_parsed(record) for record in latest.values() if record is not None)


def open_keys(log: Log, graph: str, stage: str) -> set[bytes]:
    """Keys of the entries of one stage that are open now."""
    keys: set[bytes] = set()
    prefix = f"{stage}/".encode()
    if log.describe(topic_of(graph)) is None:
        return keys
    for record in log.scan(topic_of(graph)):
        key = record.key or b""
        if key.startswith(prefix):
            (keys.discard if record.value is None else keys.add)(key)
    return keys


def _headers(graph: str, stage: str, flight: Flight) -> Headers:
    failure, origin = flight.failure, flight.change.origin
    assert failure is not None
    texts: Mapping[str, Any] = {
        "__connect.errors.topic": flight.ticket.at.topic,
        "__connect.errors.partition": flight.ticket.at.partition,
        "__connect.errors.offset": flight.ticket.offset,
        "__connect.errors.connector.name": graph,
        "__connect.errors.task.id": 0,
        "__connect.errors.stage": stage,
        "__connect.errors.class.name": failure.node,
        "__connect.errors.exception.class.name": failure.kind,
        "__connect.errors.exception.message": failure.message,
        "nvisy.error.node": failure.node,
        "nvisy.error.kind": failure.kind,
        "nvisy.error.retryable": str(failure.retryable).lower(),
        "nvisy.error.attempts": failure.attempts,
        "nvisy.error.version": origin.version.number if origin.version else 0,
        "nvisy.error.uri": origin.uri,
        "nvisy.error.size": len(flight.raw),
        "nvisy.error.sha256": hashlib.sha256(flight.raw).hexdigest(),
        "nvisy.error.run": origin.run,
        "nvisy.error.graph": flight.change.graph,
    }
    return tuple((name, str(value).encode()) for name, value in texts.items())


def _parsed(record: LogRecord) -> DeadLetter:
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    stage, outlet, source, key = (record.key or b"").decode("utf-8", "replace").split("/", 3)
    return DeadLetter(
        id=f"{record.offset}-{record.partition}",
        stage=stage,
        outlet=outlet,
        source=source,
        key=key,
        node=headers.get("nvisy.error.node", ""),
        kind=headers.get("nvisy.error.kind", ""),
        message=headers.get("__connect.errors.exception.message", ""),
        retryable=headers.get("nvisy.error.retryable") == "true",
        attempts=int(headers.get("nvisy.error.attempts", "1")),
        version=int(headers.get("nvisy.error.version", "0")),
        uri=headers.get("nvisy.error.uri", ""),
        size=int(headers.get("nvisy.error.size", "0")),
        sha256=headers.get("nvisy.error.sha256", ""),
        run=headers.get("nvisy.error.run", ""),
        failed_at_ms=record.timestamp_ms,
        original=record.value or b"",
    )
