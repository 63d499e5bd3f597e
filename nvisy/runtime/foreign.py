"""Topics of other programs: their records become changes, and our changes become events for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from pydantic import ValidationError

from nvisy.codec.codec import Codec
from nvisy.codec.faults import undecodable
from nvisy.errors import CodecError, Rejected
from nvisy.primitives import Document, Primitive
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.primitives.values import as_metadata
from nvisy.runtime import debezium
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Failure, Flight
from nvisy.runtime.numbering import Numbering, Versions
from nvisy.runtime.outlets import Outlet, rejection
from nvisy.topics.connector import TopicParams, TopicSourceParams
from nvisy.topics.log import Append, LogRecord, Session
from nvisy.topics.partitioner import partition_of


class ForeignDecoder:
    """Turns the records of a topic that other programs fill into changes."""

    def __init__(
        self,
        node: str,
        params: TopicSourceParams,
        codec: Codec,
        numbering: Numbering,
        *,
        graph: str,
        run: str,
        partitions: int,
        forgotten: frozenset[str] = frozenset(),
    ) -> None:
        """`forgotten`: keys of documents that are to stay away, so that whatever the topic says of them is a delete."""
        self._node = node
        self._params = params
        self._codec = codec
        self._versions = Versions(numbering)
        self._graph = graph
        self._run = run
        self._partitions = partitions
        self._forgotten = forgotten

    def decode(self, record: LogRecord, had: Version | None = None) -> Change:
        """The change that a record stands for; a null value is a delete. It has the version that it `had` before.

        Raises:
            Rejected: Its value cannot be read, or makes no document.
        """
        version = had or self._versions.of(record)
        try:
            return self._change(record, version)
        except CodecError as error:
            raise undecodable(error) from error

    def unknown(self, record: LogRecord) -> Change:
        """Stands for a record whose change cannot be told, under its own key, or its place where it has none."""
        key = (record.key or b"").decode("utf-8", "replace") or f"//{record.partition}/{record.offset}"
        return Change(self._origin(record, key, self._versions.of(record)), graph=self._graph)

    def _change(self, record: LogRecord, version: Version) -> Change:
        if record.value is None:
            return self._delete(record, version)
        if self._forgotten and self._params.key is None and self._named(record) in self._forgotten:
            return self._delete(record, version)  # before anything of it is read
        fields: Mapping[str, Any] = {}
        item: Primitive | None = None
        if self._params.format == "json":
            fields = _json(record.value)
        elif self._params.primitive != "Document":
            item = self._codec.decode_primitive(record.value, headers=record.headers)
        else:
            name, fields = self._codec.decode_record(record.value, headers=record.headers)
            if self._params.envelope == "none" and self._params.text not in fields:
                raise Rejected(
                    f"{name} has no field {self._params.text!r}, which is the text: its schema has changed, or "
                    f'"text" names another field',
                    kind="decode",
                )
        if self._params.envelope == "debezium":
            row = debezium.row_of(fields)
            if row is None:
                return self._delete(record, version)
            fields = row
        key = self._named(record) if self._params.key is None else _key(fields, self._params.key)
        origin = self._origin(record, key, version)
        if key in self._forgotten:
            return Change(origin, "delete", graph=self._graph)
        document = item or _document(fields, self._params.text)
        identified = document.identified(
            discriminator="", node=self._node, steps="", parent="", provenance=origin
        )
        return Change(origin, "upsert", (identified,), graph=self._graph)

    def _delete(self, record: LogRecord, version: Version) -> Change:
        return Change(self._origin(record, self._named(record), version), "delete", graph=self._graph)

    def _named(self, record: LogRecord) -> str:
        """What the key of a record calls the document."""
        if self._params.envelope == "none" or not record.key:
            return _text(record.key)
        if self._params.format == "json":
            return debezium.key_of(_json(record.key))
        return debezium.key_of(self._codec.decode_record(record.key)[1])

    def _origin(self, record: LogRecord, key: str, version: Version) -> Provenance:
        # The partition is that of the graph's own topics: theirs may be cut into another number of partitions.
        return Provenance(
            source=self._node,
            key=key,
            uri=f"topic://{record.topic}/{key}",
            version=version,
            partition=partition_of(f"{self._node}/{key}".encode(), self._partitions),
            observed_at_us=record.timestamp_ms * 1000,
            run=self._run,
            topic=record.topic,
        )


class EventsOutlet(Outlet):
    """A topic for other programs: a tombstone that voids what was, then one event per primitive."""

    def __init__(
        self,
        node: str,
        params: TopicParams,
        session: Session,
        codec: Codec,
        partitions: int,
        counters: NodeCounters,
    ) -> None:
        self.name = node
        self._params = params
        self._session = session
        self._codec = codec
        self._partitions = partitions
        self._counters = counters

    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        """Append the events of each change, all of them or none."""
        refused: list[Flight] = []
        for flight in flights:
            key = flight.change.origin.key.encode()
            partition = partition_of(key, self._partitions)
            self._counters.received += len(flight.change.items)
            try:
                events = [self._event(partition, key, item) for item in flight.change.items]
            except (Rejected, CodecError) as error:
                self._counters.failed += 1
                refused.append(flight.failed(Failure.of(self.name, rejection(error))))
                continue
            self._session.append([Append(self._params.topic, partition, key, None), *events])
            self._counters.emitted += len(events)
        return refused

    def _event(self, partition: int, key: bytes, item: Primitive) -> Append:
        if self._params.format == "json":
            value = orjson.dumps({"type": item.type, **item.model_dump(mode="json")})
            content_type = b"application/json"
        else:
            value = self._codec.encode_primitive(item, self._params.topic)
            content_type = b"application/avro"
        return Append(self._params.topic, partition, key, value, (("content-type", content_type),))


def _json(value: bytes) -> Mapping[str, Any]:
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the value is no JSON: {error}", kind="decode") from None
    if not isinstance(fields, dict):
        raise Rejected("the value is JSON, but no object", kind="decode")
    return fields


def _text(key: bytes | None) -> str:
    if not key:
        raise Rejected(
            'the record has no key, so it could never be updated; name a field as "key"', kind="no_key"
        )
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise Rejected("the record's key is not UTF-8", kind="decode") from None


def _key(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or isinstance(value, dict | list) or value == "":
        raise Rejected(f"the record has no {name!r}, which is its key", kind="no_key")
    return str(value)


def _document(fields: Mapping[str, Any], text: str) -> Document:
    body = fields.get(text)
    if body is not None and not isinstance(body, str):
        raise Rejected(f"the field {text!r} is no text", kind="decode")
    try:
        metadata = {name: as_metadata(value) for name, value in fields.items() if name != text}
        return Document(text=body or "", metadata=metadata)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
    except TypeError:  # orjson's word for it
        reason = "a value in it nests too deep to be written down"
    raise Rejected(f"the record makes no document: {reason}", kind="decode")
