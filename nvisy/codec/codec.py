"""Changes, barriers and primitives as Avro records, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import fastavro
from pydantic import ValidationError

from nvisy.codec.blobs import MAX_BLOB_BYTES, Blobs
from nvisy.codec.change_schema import FORMAT, change_schema
from nvisy.codec.derive import Record, primitive_record
from nvisy.codec.framing import SchemaRef, frame, unframe
from nvisy.codec.reading import Reading, read
from nvisy.codec.registry import Registry
from nvisy.codec.wire import NAMESPACE, checked_version
from nvisy.errors import CodecError, NvisyError, Rejected
from nvisy.primitives.change import Barrier, Change
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance, Version
from nvisy.primitives.types import PrimitiveTypes

MAX_MESSAGE_BYTES = 16 << 20
"""Size of the largest message that a topic of ours takes."""

SLACK_BYTES = 64 << 10
"""What key, headers and the record batch around a value may take of `MAX_MESSAGE_BYTES`."""

CHANGE = f"{NAMESPACE}.Change"
BARRIER = f"{NAMESPACE}.Barrier"

Pack = Callable[[Primitive], tuple[str, dict[str, Any]]]
Unpack = Callable[[dict[str, Any], Provenance | None], Primitive]
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
        self._packs: dict[type, Pack] = {}
        self._unpacks: dict[str, Unpack] = {}
        for record, cls in zip(records.values(), self._types.values(), strict=True):
            self._packs[cls] = _packer(record)
            self._unpacks[record.name] = _unpacker(record, cls)
        self._alone = {cls.type: primitive_record(cls) for cls in self._types.values()}
        self._alone_readings = {record.name: Reading.of(record.schema) for record in self._alone.values()}
        self._readings: dict[SchemaRef, Reading] = {}
        self._frames: dict[tuple[str, str], bytes] = {}

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
        datum = _head_of(change, inc)
        datum["items"] = [self._pack(item) for item in change.items]
        value = _written(head, self._change.parsed, (CHANGE, datum), change.items)
        if len(value) > self._max_bytes:
            datum["blob"] = self._claim(head, datum["items"], change)
            datum["items"] = []
            value = _written(head, self._change.parsed, (CHANGE, datum), ())
        return value

    def encode_barrier(self, barrier: Barrier, topic: str) -> bytes:
        """The value of the record that carries `barrier` on `topic`."""
        datum = {"kind": barrier.kind, "source": barrier.source, "run": barrier.run, "inc": barrier.inc}
        return _written(self._frame(topic, "", self._change.text), self._change.parsed, (BARRIER, datum), ())

    def decode(
        self, value: bytes, *, topic: str, partition: int, offset: int, headers: Headers = ()
    ) -> Change | Barrier:
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
            name, fields = self._read(value, headers, MAX_MESSAGE_BYTES + SLACK_BYTES)
            if name == BARRIER:
                _check_format(fields)
                return Barrier(fields["kind"], fields["source"], fields["run"], fields["inc"])
            if name != CHANGE:
                raise CodecError(f"a change or a barrier is expected, and this is a record of {name}")
            return self._decoded(fields, topic, partition, offset)
        except CodecError as error:
            raise CodecError(f"{topic}, partition {partition}, offset {offset}: {error}") from error.__cause__

    def decode_change(
        self, value: bytes, *, topic: str, partition: int, offset: int, headers: Headers = ()
    ) -> Change:
        """As `decode`, where only a change can be: raises `CodecError` for a barrier too."""
        decoded = self.decode(value, topic=topic, partition=partition, offset=offset, headers=headers)
        if isinstance(decoded, Barrier):
            raise CodecError(
                f"{topic}, partition {partition}, offset {offset}: a barrier, where a change is due"
            )
        return decoded

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
        record = self._alone.get(item.type)
        if record is None or type(item) is not self._types[item.type]:
            raise _not_installed(item)
        reading = self._alone_readings[record.name]
        head = self._frame(topic, record.name if per_type else "", reading.text)
        try:
            datum = record.pack(item.__dict__)
        except Exception as error:
            raise _unwritable(error, (item,)) from error
        value = _written(head, reading.parsed, datum, (item,))
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
        name, fields = self._read(value, headers, MAX_MESSAGE_BYTES + SLACK_BYTES)
        unpack = self._unpacks.get(name)
        if unpack is None:
            raise CodecError(f"a record of {name} is no primitive that is installed here")
        record = self._alone[name.rpartition(".")[2]]
        provenance = dict(record.unpacks)["provenance"]
        return _guarded(lambda: unpack(fields, provenance(fields["provenance"])), name)

    def decode_record(self, value: bytes, *, headers: Headers = ()) -> tuple[str, dict[str, Any]]:
        """Full name and fields of a record of anybody's schema, dates and decimals as such.

        Raises:
            CodecError: It is damaged, or its schema is not that of a record.
            Unreachable: The registry does not answer.
        """
        ref, start = unframe(value, headers)
        reading = Reading.of(self._registry.schema(ref), logical_types=True)
        return read(value, start, reading, MAX_MESSAGE_BYTES + SLACK_BYTES)

    def _pack(self, item: Primitive) -> tuple[str, dict[str, Any]]:
        pack = self._packs.get(type(item))
        if pack is None:
            raise _not_installed(item)
        try:
            return pack(item)
        except Exception as error:
            raise _unwritable(error, (item,)) from error

    def _frame(self, topic: str, name: str, schema: str) -> bytes:
        head = self._frames.get((topic, name))
        if head is None:
            head = frame(self._registry.register(f"{topic}-{name or 'value'}", schema))
            self._frames[topic, name] = head
        return head

    def _claim(self, head: bytes, items: list[Any], change: Change) -> tuple[str, dict[str, Any]]:
        # Of the change only the items go in, so that the same items are the same blob in every run.
        data = _written(
            head, self._change.parsed, (CHANGE, {"source": "", "key": "", "op": "upsert", "items": items}), ()
        )
        if self._blobs is None or len(data) > MAX_BLOB_BYTES:
            limit = self._max_bytes if self._blobs is None else MAX_BLOB_BYTES
            raise Rejected(
                f"{change.origin.key}: its {len(items)} items take {len(data)} bytes, more than the {limit} that are "
                "possible; set NVISY_BLOBS to a folder that every host can reach, or split the document",
                kind="too_large",
                retryable=self._blobs is None,
            )
        sha256 = self._blobs.put(data)
        return f"{NAMESPACE}.Blob", {"sha256": sha256, "bytes": len(data), "where": self._blobs.where(sha256)}

    def _read(self, value: bytes, headers: Headers, max_bytes: int) -> tuple[str, dict[str, Any]]:
        ref, start = unframe(value, headers)
        reading = self._readings.get(ref)
        if reading is None:
            reading = self._reading(ref)
            self._readings[ref] = reading
        return read(value, start, reading, max_bytes)

    def _reading(self, ref: SchemaRef) -> Reading:
        writer = Reading.of(self._registry.schema(ref))
        ours = self._change if writer.names & {CHANGE, BARRIER} else None
        for name in writer.names:
            ours = ours or self._alone_readings.get(name)
        return writer if ours is None else ours.reading(writer)

    def _decoded(self, fields: dict[str, Any], topic: str, partition: int, offset: int) -> Change:
        _check_format(fields)
        origin = _origin(fields, topic, partition, offset)
        items = fields["items"] if fields["blob"] is None else self._claimed(fields)
        if items and fields["op"] == "delete":
            raise CodecError("a delete that carries items contradicts itself")
        unpacks = self._unpacks
        primitives = _guarded(lambda: tuple([unpacks[name](item, origin) for name, item in items]), CHANGE)
        return Change(
            origin, fields["op"], primitives, fields["fingerprint"], fields["graph"], fields["trace"]
        )

    def _claimed(self, fields: dict[str, Any]) -> Any:
        blob = fields["blob"]
        if self._blobs is None:
            raise Rejected(
                f"{fields['key']}: its items lie in the blob {blob['where']}, and no folder for blobs is known here; "
                "set NVISY_BLOBS",
                kind="decode",
                retryable=True,
            )
        data = self._blobs.get(blob["sha256"], blob["bytes"])
        name, inner = self._read(data, (), MAX_BLOB_BYTES)
        if fields["items"] or name != CHANGE or inner["blob"] is not None:
            raise CodecError("a claim check stands for the items, all of them, and for nothing else")
        return inner["items"]


def _packer(record: Record) -> Pack:
    name = record.name
    packs = [(each, convert) for each, convert in record.packs if each != "provenance"]

    def pack(item: Primitive) -> tuple[str, dict[str, Any]]:
        fields = item.__dict__.copy()
        fields["provenance"] = None
        for each, convert in packs:
            fields[each] = convert(fields[each])
        return name, fields

    return pack


def _unpacker(record: Record, cls: type[Primitive]) -> Unpack:
    unpacks = [(each, convert) for each, convert in record.unpacks if each != "provenance"]

    def unpack(fields: dict[str, Any], origin: Provenance | None) -> Primitive:
        del fields["type"]
        fields["provenance"] = origin
        for each, convert in unpacks:
            fields[each] = convert(fields[each])
        return cls.decoded(fields)

    return unpack


def _head_of(change: Change, inc: int) -> dict[str, Any]:
    origin = change.origin
    version = origin.version
    return {
        "source": origin.source,
        "key": origin.key,
        "inc": inc if version is None else version.inc,
        "off": None if version is None else version.off,
        "topic": "" if version is None else origin.topic,
        "partition": 0 if version is None else origin.partition,
        "op": change.op,
        "fingerprint": change.fingerprint,
        "blob": None,
        "graph": change.graph,
        "run": origin.run,
        "uri": origin.uri,
        "observed_at_us": origin.observed_at_us,
        "trace": change.trace,
    }


def _origin(fields: dict[str, Any], topic: str, partition: int, offset: int) -> Provenance:
    off = fields["off"]
    is_new = off is None
    return Provenance(
        source=fields["source"],
        key=fields["key"],
        uri=fields["uri"],
        version=Version(fields["inc"], offset) if is_new else checked_version(fields["inc"], off),
        partition=partition if is_new else fields["partition"],
        observed_at_us=fields["observed_at_us"],
        run=fields["run"],
        topic=topic if is_new else fields["topic"],
    )


def _check_format(fields: dict[str, Any]) -> None:
    if fields["format"] != FORMAT:
        raise CodecError(f"format {fields['format']} is unknown here, only {FORMAT} is known; upgrade nvisy")


def _written(head: bytes, schema: Any, datum: Any, items: tuple[Primitive, ...]) -> bytes:
    out = BytesIO()
    out.write(head)
    try:
        fastavro.schemaless_writer(out, schema, datum)
    except Exception as error:  # fastavro raises whatever a value makes it stumble over
        raise _unwritable(error, items) from error
    return out.getvalue()


def _guarded(build: Callable[[], Any], name: str) -> Any:
    try:
        return build()
    except NvisyError:
        raise
    except ValidationError as error:
        raise CodecError(f"{name}: {_reasons(error)}") from None
    except Exception as error:  # a user's own validator may raise anything
        raise CodecError(f"{name}: {type(error).__name__}: {error}") from error


def _unwritable(error: Exception, items: Iterable[Primitive]) -> CodecError:
    """What is wrong with an item that could not be written, without quoting what it holds."""
    if isinstance(error, CodecError):
        return error
    for item in items:
        try:
            type(item).model_validate(item.__dict__)
        except ValidationError as fault:
            return CodecError(f"{item.type} {item.id}: {_reasons(fault)}")
    reason = {
        UnicodeEncodeError: "text that is not valid Unicode",
        OverflowError: "an integer beyond 64 bits",
    }
    return CodecError(
        f"a value that its schema does not allow: {reason.get(type(error), type(error).__name__)}"
    )


def _reasons(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in faults[:3])


def _not_installed(item: Primitive) -> CodecError:
    cls = type(item)
    return CodecError(
        f"{cls.__module__}.{cls.__qualname__} is not among the primitives of this process; register it under the "
        "entry point group nvisy.primitives"
    )
