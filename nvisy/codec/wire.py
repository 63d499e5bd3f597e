"""How one Python type travels: its Avro schema, and the conversions for what Avro cannot hold as it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np
import orjson

from nvisy.errors import CodecError
from nvisy.primitives.provenance import Provenance, Span, Version
from nvisy.primitives.values import MAX_DEPTH, checked_json

NAMESPACE = "ai.nvisy"
"""Namespace of every record of ours."""

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Wire:
    """The wire form of a type.

    Attributes:
        schema: Its Avro schema, as JSON.
        pack: Python value to Avro value, or None where they are the same.
        unpack: Avro value to Python value, or None where they are the same.
    """

    schema: Any
    pack: Convert | None = None
    unpack: Convert | None = None


def type_field(name: str) -> dict[str, Any]:
    """The field that repeats a record's name: stock deserializers drop the name, and readers of a union need it."""
    return {"name": "type", "type": "string", "default": name, "doc": "Name of this record."}


def _field(name: str, schema: Any, default: Any, doc: str) -> dict[str, Any]:
    return {"name": name, "type": schema, "default": default, "doc": doc}


MICROS = {"type": "long", "logicalType": "timestamp-micros"}

SPAN_SCHEMA = {
    "type": "record",
    "name": "Span",
    "namespace": NAMESPACE,
    "doc": "A piece of the extracted text, in characters: text[start:end].",
    "fields": [
        type_field("Span"),
        {"name": "start", "type": "long", "doc": "Index of its first character."},
        {"name": "end", "type": "long", "doc": "Index behind its last character."},
    ],
}

PROVENANCE_SCHEMA = {
    "type": "record",
    "name": "Provenance",
    "namespace": NAMESPACE,
    "doc": "Where a primitive comes from.",
    "fields": [
        type_field("Provenance"),
        {"name": "source", "type": "string", "doc": "Id of the source node."},
        {"name": "key", "type": "string", "doc": "What the source calls the document."},
        _field("uri", "string", "", "Where a person finds the document."),
        _field("inc", ["null", "long"], None, "Incarnation of the origin topic; null before it is in a log."),
        _field("off", ["null", "long"], None, "Offset in the origin topic; null before it is in a log."),
        _field("topic", "string", "", "The origin topic, or empty."),
        _field("partition", "int", 0, "Partition of the origin topic."),
        _field("observed_at_us", MICROS, 0, "When the source saw this version, UTC."),
        _field("run", "string", "", "Id of the run that read it."),
    ],
}


def _pack_span(span: Span) -> dict[str, int]:
    return {"start": span[0], "end": span[1]}


def _unpack_span(fields: dict[str, Any]) -> Span:
    return Span(fields["start"], fields["end"])


def _pack_provenance(origin: Provenance) -> dict[str, Any]:
    inc, off = origin.version if origin.version is not None else (None, None)
    return {
        "source": origin.source,
        "key": origin.key,
        "uri": origin.uri,
        "inc": inc,
        "off": off,
        "topic": origin.topic,
        "partition": origin.partition,
        "observed_at_us": origin.observed_at_us,
        "run": origin.run,
    }


def _unpack_provenance(fields: dict[str, Any]) -> Provenance:
    inc, off = fields["inc"], fields["off"]
    return Provenance(
        fields["source"],
        fields["key"],
        fields["uri"],
        None if inc is None or off is None else checked_version(inc, off),
        fields["partition"],
        fields["observed_at_us"],
        fields["run"],
        fields["topic"],
    )


def checked_version(inc: int, off: int) -> Version:
    """The version `(inc, off)`, once both are sane."""
    if inc < 0 or off < 0:
        raise CodecError(f"a version counts from 0, and this one is ({inc}, {off})")
    return Version(inc, off)


_F32 = np.dtype("<f4")


def _pack_vector(vector: Any) -> bytes:
    data: bytes = (vector if vector.dtype is _F32 else vector.astype(_F32)).tobytes()
    return data


def _unpack_vector(data: bytes) -> Any:
    return np.frombuffer(data, _F32)


def _pack_json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _unpack_json(text: str) -> Any:
    value = orjson.loads(text)
    # Nests too deep, or a number beyond 64 bits: looked for only where the text is such that it may be.
    if text.count("[") + text.count("{") > MAX_DEPTH or _LONG_NUMBER.search(text):
        checked_json(value)
    return value


_LONG_NUMBER = re.compile(r"\d{19}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_MICROSECOND = timedelta(microseconds=1)


def _pack_datetime(value: datetime) -> int:
    if value.tzinfo is None:
        raise CodecError(f"the time {value} has no time zone; give it one, say datetime.now(UTC)")
    return (value - _EPOCH) // _MICROSECOND


def _unpack_datetime(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _pack_date(value: date) -> int:
    return value.toordinal() - _EPOCH_DAY


def _unpack_date(days: int) -> date:
    return date.fromordinal(days + _EPOCH_DAY)


def decimal_wire(precision: int, scale: int) -> Wire:
    """A decimal number with `scale` places, exact: one that has more of them is refused, not rounded."""
    context = Context(prec=max(precision, 1) * 2 + 64)
    max_bytes = precision // 2 + 1

    def pack(value: Decimal) -> bytes:
        shifted = value.scaleb(scale, context)
        unscaled = int(shifted) if shifted.is_finite() else None
        if unscaled is None or unscaled != shifted or len(str(abs(unscaled))) > precision:
            raise CodecError(
                f"the decimal {value} needs more than {precision} digits or {scale} places; "
                "declare the field with Field(max_digits=…, decimal_places=…)"
            )
        return unscaled.to_bytes(unscaled.bit_length() // 8 + 1, "big", signed=True)

    def unpack(data: bytes) -> Decimal:
        if len(data) > max_bytes:
            raise CodecError(f"a decimal of {precision} digits does not take {len(data)} bytes")
        return Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-scale, context)

    schema = {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
    return Wire(schema, pack, unpack)


def enum_wire(cls: type[Enum], schema: Any) -> Wire:
    """An enumeration, by its values."""
    return Wire(schema, lambda member: member.value, cls)


SCALARS: dict[Any, Wire] = {
    bool: Wire("boolean"),
    int: Wire("long"),
    float: Wire("double"),
    str: Wire("string"),
    bytes: Wire("bytes"),
    datetime: Wire(MICROS, _pack_datetime, _unpack_datetime),
    date: Wire({"type": "int", "logicalType": "date"}, _pack_date, _unpack_date),
    UUID: Wire({"type": "string", "logicalType": "uuid"}, str, UUID),
}
"""Types that need no look inside."""

SPAN = Wire(SPAN_SCHEMA, _pack_span, _unpack_span)
PROVENANCE = Wire(PROVENANCE_SCHEMA, _pack_provenance, _unpack_provenance)
VECTOR = Wire({"type": "bytes", "nvisy.dtype": "f32le"}, _pack_vector, _unpack_vector)
JSON = Wire({"type": "string", "nvisy.content": "application/json"}, _pack_json, _unpack_json)
