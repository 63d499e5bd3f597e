"""Changes and primitives as Avro records, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nvisy.codec.blobs import MAX_BLOB_BYTES, Blobs
from nvisy.codec.change_record import (
    BLOB,
    CHANGE,
    change_schema,
    check_format,
    head_of,
    origin_of,
)
from nvisy.codec.derive import primitive_record
from nvisy.codec.faults import not_installed, unreadable, unwritable
from nvisy.codec.framing import SchemaRef, frame, unframe
from nvisy.codec.items import Items
from nvisy.codec.reading import Reading, read, written
from nvisy.codec.registry import Registry
from nvisy.codec.wire import PROVENANCE
from nvisy.errors import CodecError, Rejected
from nvisy.primitives.change import Change
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance
from nvisy.primitives.types import PrimitiveTypes

MAX_MESSAGE_BYTES = 16 << 20
"""Size of the largest message that a topic of ours takes."""

SLACK_BYTES = 64 << 10
"""What key, headers and the record batch around a value may take of `MAX_MESSAGE_BYTES`."""

Headers = Iterable[tuple[str, bytes]]


class Codec:
    """The way onto a topic and off it. Holds schemas and their numbers; threads may share one."""

    def __init__(
        self,
        registry: Registry,
        types: PrimitiveTypes | None = None,
        *,
        blobs: Blobs | None = None,
        max_bytes: int = MAX_MESSAGE_BYTES - SLACK_BYTES,
    ) -> None:
        """A codec for these primitives.

        Args:
            registry: Where schemas get their numbers.
            types: The primitives there are; by default the built-in ones.
            blobs: Where changes larger than `max_bytes` go; without it they are rejected.
            max_bytes: The largest value that a topic takes.

        Raises:
            CodecError: A user's primitive has a field that cannot travel.
        """
        self._registry = registry
        self._blobs = blobs
        self._max_bytes = max_bytes
        self._types = types or PrimitiveTypes()
        schema, records = change_schema(self._types)
        self._change = Reading.of(schema)
        self._items = Items(zip(records, self._types.values(), strict=True))
        self._alone = {cls: primitive_record(cls) for cls in self._types.values()}
        self._alone_readings = {record.name: Reading.of(record.schema) for record in self._alone.values()}
        self._readings: dict[SchemaRef, Reading] = {}
        self._foreign: dict[SchemaRef, Reading] = {}
        self._frames: dict[tuple[str, str, str], bytes] = {}

    def prepare(self, topic: str, primitive: str = "", *, per_type: bool = False) -> None:
        """Register the schema of what will stand on `topic`, so that a refusal comes before the data does.

        Args:
            topic: The topic.
            primitive: Type of the primitives that will stand there alone; empty for a topic of changes.
            per_type: As in `encode_primitive`.

        Raises:
            CodecError: What the topic holds could not be read with it, or no such type is installed.
            Unreachable: The registry does not answer.
        """
        if not primitive:
            self._frame(topic, "", self._change.text)
        elif primitive in self._types:
            record = self._alone[self._types[primitive]]
            self._frame(topic, record.name if per_type else "", self._alone_readings[record.name].text)
        else:
            raise CodecError(f"no primitive {primitive!r} is installed here")

    def encode_change(self, change: Change, topic: str, *, inc: int = 0) -> bytes:
        """The value of the record that carries `change` on `topic`.

        Args:
            change: What to encode. Without a version it is new: the offset it gets on `topic` becomes its version.
            topic: The topic, whose subject in the registry is `<topic>-value`.
            inc: Incarnation of `topic`, for a change without a version.

        Raises:
            CodecError: A value that its schema does not allow, or a type that is not installed.
            Rejected: It is larger than a message may be, and there is nowhere to put it (`too_large`).
            Unreachable: The registry does not answer.
        """
        head = self._frame(topic, "", self._change.text)
        datum = head_of(change, inc)
        datum["items"] = [self._items.pack(item) for item in change.items]
        value = self._written(head, CHANGE, datum, change.items)
        if len(value) > self._max_bytes:
            datum["blob"] = self._claim(head, datum["items"], change)
            datum["items"] = []
            value = self._written(head, CHANGE, datum)
        return value

    def decode_change(
        self, value: bytes, *, topic: str, partition: int, offset: int, headers: Headers = ()
    ) -> Change:
        """What a record on a topic inside a graph carries.

        Args:
            value: The record's value.
            topic: Where it was read. A change that is new there gets its version from this place.
            partition: Likewise.
            offset: Likewise.
            headers: The record's headers.

        Raises:
            CodecError: It is none of ours, damaged, of an unknown format, or contradicts a primitive's contract.
            Rejected: A part of it lies in a blob that is not there (`decode`).
            Unreachable: The registry does not answer.
        """
        try:
            return self._decoded(value, topic, partition, offset, headers)
        except CodecError as error:
            place = f"{topic}, partition {partition}, offset {offset}"
            raise type(error)(f"{place}: {error}") from error.__cause__

    def blob_of(self, value: bytes, *, headers: Headers = ()) -> str:
        """SHA-256 of the blob that a change's record refers to; empty where it refers to none, or is no change.

        Raises:
            Unreachable: The registry does not answer.
        """
        try:
            name, fields = self._read(value, headers)
        except CodecError:
            return ""
        return fields["blob"]["sha256"] if name == CHANGE and fields["blob"] is not None else ""

    def encode_primitive(self, item: Primitive, topic: str, *, per_type: bool = False) -> bytes:
        """The value of a record that carries `item` alone, with its provenance, for other people's consumers.

        Args:
            item: What to encode.
            topic: The topic, whose subject in the registry is `<topic>-value`.
            per_type: Whether every type has a subject of its own, `<topic>-ai.nvisy.<type>`: a topic that takes
                more than one type needs that.

        Raises:
            CodecError: A value that its schema does not allow, or a type that is not installed.
            Rejected: It is larger than a message may be (`too_large`).
            Unreachable: The registry does not answer.
        """
        record = self._alone.get(type(item))
        if record is None:
            raise not_installed(item)
        reading = self._alone_readings[record.name]
        head = self._frame(topic, record.name if per_type else "", reading.text)
        try:
            value = written(head, reading, record.pack(item.__dict__))
        except Exception as error:  # a value that was never validated may raise anything
            raise unwritable(error, (item,)) from error
        if len(value) > self._max_bytes:
            raise Rejected(
                f"a {item.type} of {len(value)} bytes is larger than the {self._max_bytes} that {topic} takes",
                kind="too_large",
            )
        return value

    def decode_primitive(self, value: bytes, *, headers: Headers = ()) -> Primitive:
        """The primitive that travels alone in a record, with its own provenance.

        Raises:
            CodecError: It is none of ours, damaged, or contradicts the primitive's contract.
            Unreachable: The registry does not answer.
        """
        name, fields = self._read(value, headers)
        try:
            return self._items.unpack(name, fields, _own_provenance(fields))
        except Exception as error:  # a user's own validator may raise anything
            raise unreadable(error, name) from error

    def decode_record(self, value: bytes, *, headers: Headers = ()) -> tuple[str, dict[str, Any]]:
        """Full name and fields of a record of anybody's schema, dates and decimals as such.

        Raises:
            CodecError: It is damaged, or its schema is not that of a record.
            Unreachable: The registry does not answer.
        """
        ref, start = unframe(value, headers)
        reading = self._foreign.get(ref)
        if reading is None:
            reading = Reading.of(self._registry.schema(ref), logical_types=True)
            self._foreign[ref] = reading
        return read(value, start, reading, MAX_MESSAGE_BYTES + SLACK_BYTES)

    def _frame(self, topic: str, name: str, schema: str) -> bytes:
        head = self._frames.get((topic, name, schema))
        if head is None:
            head = frame(self._registry.register(f"{topic}-{name or 'value'}", schema))
            self._frames[topic, name, schema] = head
        return head

    def _written(
        self, head: bytes, name: str, datum: dict[str, Any], items: tuple[Primitive, ...] = ()
    ) -> bytes:
        try:
            return written(head, self._change, (name, datum))
        except Exception as error:  # a value that was never validated may raise anything
            raise unwritable(error, items) from error

    def _claim(self, head: bytes, items: list[Any], change: Change) -> tuple[str, dict[str, Any]]:
        # Of the change only the items go in, so that the same items are the same blob in every run.
        data = self._written(head, CHANGE, {"source": "", "key": "", "op": "upsert", "items": items})
        if self._blobs is None or len(data) > MAX_BLOB_BYTES:
            limit = self._max_bytes if self._blobs is None else MAX_BLOB_BYTES
            raise Rejected(
                f"{change.origin.key}: its {len(items)} items take {len(data)} bytes, more than the {limit} that "
                "are possible; set NVISY_BLOBS to a folder that every host can reach, or split the document",
                kind="too_large",
                retryable=self._blobs is None,
            )
        sha256 = self._blobs.put(data)
        return BLOB, {"sha256": sha256, "bytes": len(data), "where": self._blobs.where(sha256)}

    def _read(
        self, value: bytes, headers: Headers, max_bytes: int = MAX_MESSAGE_BYTES + SLACK_BYTES
    ) -> tuple[str, dict[str, Any]]:
        ref, start = unframe(value, headers)
        reading = self._readings.get(ref)
        if reading is None:
            reading = self._reading(ref)
            self._readings[ref] = reading
        return read(value, start, reading, max_bytes)

    def _reading(self, ref: SchemaRef) -> Reading:
        writer = Reading.of(self._registry.schema(ref))
        if writer.names & self._change.names:
            return self._change.reading(writer)
        ours = next(
            (self._alone_readings[name] for name in writer.names if name in self._alone_readings), None
        )
        return writer if ours is None else ours.reading(writer)

    def _decoded(self, value: bytes, topic: str, partition: int, offset: int, headers: Headers) -> Change:
        name, fields = self._read(value, headers)
        if name != CHANGE:
            raise CodecError(f"a change is expected, and this is a record of {name}")
        check_format(fields)
        origin = origin_of(fields, topic, partition, offset)
        items = fields["items"] if fields["blob"] is None else self._claimed(fields)
        if items and fields["op"] == "delete":
            raise CodecError("a delete that carries items contradicts itself")
        unpack = self._items.unpack
        try:
            primitives = tuple([unpack(each, item, origin) for each, item in items])
        except Exception as error:  # a user's own validator may raise anything
            raise unreadable(error, CHANGE) from error
        return Change(
            origin, fields["op"], primitives, fields["fingerprint"], fields["graph"], fields["trace"]
        )

    def _claimed(self, fields: dict[str, Any]) -> Any:
        blob = fields["blob"]
        if self._blobs is None:
            raise Rejected(
                f"{fields['key']}: its items lie in the blob {blob['where']}, and no folder for blobs is known "
                "here; set NVISY_BLOBS",
                kind="decode",
                retryable=True,
            )
        data = self._blobs.get(blob["sha256"], blob["bytes"])
        name, inner = self._read(data, (), MAX_BLOB_BYTES)
        if fields["items"] or name != CHANGE or inner["blob"] is not None:
            raise CodecError("a claim check stands for the items, all of them, and for nothing else")
        return inner["items"]


def _own_provenance(fields: dict[str, Any]) -> Provenance | None:
    found = fields.get("provenance")
    return None if found is None or PROVENANCE.unpack is None else PROVENANCE.unpack(found)
