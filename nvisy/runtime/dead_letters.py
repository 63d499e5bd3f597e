"""Dead letters: changes that could not go on, kept in `<graph>.dlq` with their bytes and their cause.

An entry is one record, keyed by stage, outlet, source and key, so that a key has one open entry per way at the most. It
is closed by a tombstone that says why: `resolved` or `superseded` in the commit in which the same version of the key
after a repair, or a later one, passes that stage; `dropped` when somebody asked for it; `gone` when the graph no longer
has that way. Only the owner of the graph writes entries and tombstones: the stage they belong to while it runs, else
whoever holds the claim.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from nvisy.plan.model import Plan
from nvisy.primitives.provenance import Version
from nvisy.runtime.flight import Flight, Ticket
from nvisy.topics.log import Append, Headers, Log, LogRecord, TopicPartition
from nvisy.topics.partitioner import partition_of

MAX_BYTES = 1 << 20
"""Larger originals stay where they are: the entry then holds their uri, size and hash."""

_ENTRY = "nvisy.error.entry"
_UNSAID = frozenset({"original", "record_key", "entry", "place"})


def topic_of(graph: str) -> str:
    """The topic of a graph's dead letters."""
    return f"{graph}.dlq"


class OpenEntry(NamedTuple):
    """An entry as the stage that wrote it knows it.

    Attributes:
        entry: Tells it from earlier and later entries of its key.
        version: The number of the version that failed, 0 where it had none yet.
    """

    entry: str
    version: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One open entry, as a person reads it.

    Attributes:
        id: Its offset and partition, `offset-partition`: short, and stable while it is open.
        original: The bytes that failed; empty where they were too large to keep (`size` tells).
        record_key: Key of its record.
        entry: Tells it from other entries of its key, in the stage too.
        place: Where the failed change was read.
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
    record_key: bytes
    entry: str
    place: Ticket

    def as_json(self) -> dict[str, Any]:
        """Everything a person may want to know, without the bytes."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in _UNSAID}
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


def as_open(record: Append) -> OpenEntry:
    """What `entry` made, as its stage remembers it."""
    return _as_open(record.headers, "")


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
    still_open = (record for record in latest.values() if record is not None)
    yield from map(parsed, sorted(still_open, key=lambda record: record.timestamp_ms))


def open_of_stage(log: Log, graph: str, stage: str) -> dict[bytes, OpenEntry]:
    """The entries of one stage that are open now, by record key."""
    found: dict[bytes, OpenEntry] = {}
    prefix = f"{stage}/".encode()
    if log.describe(topic_of(graph)) is None:
        return found
    for record in log.scan(topic_of(graph)):
        key = record.key or b""
        if not key.startswith(prefix):
            continue
        if record.value is None:
            found.pop(key, None)
        else:
            found[key] = _as_open(record.headers, _id_of(record))
    return found


def gone(letters: Iterator[DeadLetter], plan: Plan, kept: Collection[str] = ()) -> Iterator[DeadLetter]:
    """Those of a stage, an outlet or a source that the graph no longer has: nothing can pass there any more.

    `kept`: ids of stages that another generation of the graph has, and that may run again.
    """
    ways = {
        (stage.id, outlet.name): plan.sources_of(stage) for stage in plan.stages for outlet in stage.outlets
    }
    for letter in letters:
        if letter.stage in kept and not any(stage.id == letter.stage for stage in plan.stages):
            continue
        sources = ways.get((letter.stage, letter.outlet))
        was_decoded = letter.node != letter.place.at.topic  # else nobody knows what source it is from
        if sources is None or (was_decoded and letter.source not in sources):
            yield letter


def parsed(record: LogRecord) -> DeadLetter:
    """The entry in a record of the topic."""
    headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
    topic, partition, offset = (
        headers.get(f"__connect.errors.{name}", "0") for name in ("topic", "partition", "offset")
    )
    stage, outlet, source, key = (record.key or b"").decode("utf-8", "replace").split("/", 3)
    return DeadLetter(
        id=_id_of(record),
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
        record_key=record.key or b"",
        entry=_as_open(record.headers, _id_of(record)).entry,
        place=Ticket(TopicPartition(topic, int(partition)), int(offset)),
    )


def _headers(graph: str, stage: str, flight: Flight) -> Headers:
    failure, origin, replay = flight.failure, flight.change.origin, flight.replay
    assert failure is not None
    texts: Mapping[str, Any] = {
        "__connect.errors.topic": flight.place.at.topic,
        "__connect.errors.partition": flight.place.at.partition,
        "__connect.errors.offset": flight.place.offset,
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
        "nvisy.error.size": replay.size if replay else len(flight.raw),
        "nvisy.error.sha256": replay.sha256 if replay else hashlib.sha256(flight.raw).hexdigest(),
        "nvisy.error.run": origin.run,
        "nvisy.error.graph": flight.change.graph,
        _ENTRY: secrets.token_hex(6),
    }
    return tuple((name, str(value).encode()) for name, value in texts.items())


def _as_open(headers: Headers, otherwise: str) -> OpenEntry:
    said = dict(headers)
    entry = said.get(_ENTRY, otherwise.encode()).decode("utf-8", "replace")
    return OpenEntry(entry, int(said.get("nvisy.error.version", b"0")))


def _id_of(record: LogRecord) -> str:
    return f"{record.offset}-{record.partition}"
