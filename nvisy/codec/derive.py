"""Avro records from Python classes: a primitive's annotations give its schema and the way there and back."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, JsonValue
from pydantic.fields import FieldInfo

from nvisy.codec.docs import field_docs, summary
from nvisy.codec.wire import (
    JSON,
    NAMESPACE,
    PROVENANCE,
    SCALARS,
    SPAN,
    VECTOR,
    Convert,
    Wire,
    decimal_wire,
    enum_wire,
    type_field,
)
from nvisy.errors import CodecError
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance, Span

_AVRO_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DECIMAL_DIGITS = 38
_DECIMAL_PLACES = 18
_SUPPORTED = (
    "str, int, float, bool, bytes, datetime, date, Decimal, UUID, enums, Literal of strings, Vector, Json, "
    "pydantic models, list, tuple[X, ...], dict[str, X] and `X | None` of these"
)


@dataclass(frozen=True, slots=True)
class Record:
    """A class as an Avro record.

    Attributes:
        name: Full name, `ai.nvisy.Chunk`.
        schema: The record's schema, or its full name where the schema around it has defined it already.
        packs: Fields that Avro cannot hold as they are, each with its conversion to Avro.
        unpacks: The same fields, with the way back.
    """

    name: str
    schema: Any
    packs: tuple[tuple[str, Convert], ...]
    unpacks: tuple[tuple[str, Convert], ...]

    def pack(self, fields: dict[str, Any]) -> dict[str, Any]:
        """A record to write, from the fields of an object; `fields` stays as it is."""
        packed = fields.copy()
        for name, convert in self.packs:
            packed[name] = convert(packed[name])
        return packed

    def unpack(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of an object, from a record that was read; works in place."""
        del fields["type"]
        for name, convert in self.unpacks:
            fields[name] = convert(fields[name])
        return fields


@dataclass(slots=True)
class Names:
    """What one schema has defined so far: a name is spelled out where it stands first and referred to afterwards.

    Attributes:
        defined: Class by full name.
        open: Classes whose fields are being read, the outermost first.
    """

    defined: dict[str, Any] = field(default_factory=dict)
    open: list[type] = field(default_factory=list)

    def once(self, name: str, owner: Any, schema: Any) -> Any:
        """`schema` the first time, its name from then on."""
        known = self.defined.setdefault(name, owner)
        if known is not owner:
            raise CodecError(
                f"{_path(known)} and {_path(owner)} would both be called {name}; rename one of them"
            )
        return schema


def primitive_record(cls: type[Primitive], names: Names | None = None) -> Record:
    """The record of primitive `cls`, `ai.nvisy.<type>`, within the schema that `names` belongs to.

    Raises:
        CodecError: A field has a type that no schema can express, or refers back to its own class.
    """
    return _record(cls, f"{NAMESPACE}.{cls.type}", names or Names())


def _record(cls: type[BaseModel], name: str, names: Names) -> Record:
    if cls in names.open:
        raise CodecError(
            f"{_path(cls)} contains itself, and no schema of ours is recursive; use a list with index numbers"
        )
    namespace, _, short = name.rpartition(".")
    docs = field_docs(cls)
    known = name in names.defined
    names.once(name, cls, None)
    names.open.append(cls)
    wires = {field_name: _wire_of_field(cls, field_name, names) for field_name in cls.model_fields}
    names.open.pop()
    schema = {
        "type": "record",
        "name": short,
        "namespace": namespace,
        "doc": summary(cls),
        "fields": [type_field(short), *(_field(cls, each, wire, docs) for each, wire in wires.items())],
    }
    packs = tuple((each, wire.pack) for each, wire in wires.items() if wire.pack is not None)
    unpacks = tuple((each, wire.unpack) for each, wire in wires.items() if wire.unpack is not None)
    return Record(name, name if known else schema, packs, unpacks)


def _field(cls: type[BaseModel], name: str, wire: Wire, docs: dict[str, str]) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": name, "type": wire.schema}
    info = cls.model_fields[name]
    # What any other factory makes, a time say, is new in every process, and a schema must not be.
    if not info.is_required() and info.default_factory in (None, list, dict, tuple):
        default = _default(f"{_path(cls)}.{name}", wire, info.get_default(call_default_factory=True))
        if default is None or isinstance(default, str | int | float | bytes) or default in ([], {}):
            declared["type"] = _default_first(wire.schema, default)
            declared["default"] = default.decode("latin-1") if isinstance(default, bytes) else default
    if name in docs:
        declared["doc"] = docs[name]
    return declared


def _default(where: str, wire: Wire, default: Any) -> Any:
    try:
        packed = default if wire.pack is None else wire.pack(default)
    except (TypeError, ValueError, AttributeError):
        raise CodecError(f"{where}: the default {default!r} is not of the field's type") from None
    if packed is None and not (isinstance(wire.schema, list) and "null" in wire.schema):
        raise CodecError(f"{where}: the default is None, and the type does not allow it; write `X | None`")
    return packed


def _default_first(schema: Any, default: Any) -> Any:
    # Avro reads a union's default by its first branch.
    if isinstance(schema, list) and len(schema) == 2 and schema[0] == "null" and default is not None:
        return [schema[1], "null"]
    return schema


def _wire_of_field(cls: type[BaseModel], name: str, names: Names) -> Wire:
    where = f"{_path(cls)}.{name}"
    if not _AVRO_NAME.fullmatch(name):
        raise CodecError(f"{where}: a field on the wire is named with letters, digits and underscores")
    if name == "type":
        raise CodecError(
            f"{where}: every record has a field `type` with its own name; call this one otherwise"
        )
    info = cls.model_fields[name]
    hint = cls.__name__ + "".join(part.title() for part in name.split("_"))
    return _wire(info.annotation, tuple(info.metadata), _Place(where, hint, names))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a type stands: in words, the name an anonymous type gets there, and the schema around it."""

    where: str
    hint: str
    names: Names

    def named(self, cls_name: str) -> str:
        """Full name of a record or an enum inside a primitive: it cannot collide with another primitive's."""
        owner = self.names.open[0]
        inside = getattr(owner, "type", owner.__name__)
        return f"{NAMESPACE}.{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', inside).lower()}.{cls_name}"


def _wire(annotation: Any, metadata: tuple[Any, ...], place: _Place) -> Wire:
    if annotation is JsonValue:
        return JSON
    if annotation is Decimal:
        digits = _limit(metadata, "max_digits", _DECIMAL_DIGITS)
        return decimal_wire(digits, _limit(metadata, "decimal_places", _DECIMAL_PLACES))
    if hasattr(annotation, "__value__"):
        return _wire(annotation.__value__, metadata, place)
    composed = _BY_ORIGIN.get(get_origin(annotation))
    if composed is not None:
        return composed(annotation, metadata, place)
    return SCALARS.get(annotation) or _class(annotation, place)


def _annotated(annotation: Any, metadata: tuple[Any, ...], place: _Place) -> Wire:
    inner, *extra = get_args(annotation)
    return _wire(inner, (*metadata, *extra), place)


def _class(annotation: Any, place: _Place) -> Wire:
    if annotation is Span or annotation is Provenance:
        shared = SPAN if annotation is Span else PROVENANCE
        name = f"{NAMESPACE}.{shared.schema['name']}"
        known = name in place.names.defined
        return Wire(
            place.names.once(name, annotation, name if known else shared.schema), shared.pack, shared.unpack
        )
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        record = _record(annotation, place.named(annotation.__name__), place.names)
        read: Convert = getattr(annotation, "decoded", partial(annotation.model_validate, by_name=True))
        return Wire(
            record.schema,
            lambda model: record.pack(model.__dict__),
            lambda fields: read(record.unpack(fields)),
        )
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _enum(annotation, place)
    raise CodecError(f"{place.where}: {_path(annotation)} cannot travel; use {_SUPPORTED}")


def _enum(cls: type[Enum], place: _Place) -> Wire:
    values = [member.value for member in cls]
    if _are_symbols(values):
        return enum_wire(cls, _symbols(values, cls, cls.__name__, place))
    for kind in (str, int):
        if all(type(value) is kind for value in values):
            return enum_wire(cls, SCALARS[kind].schema)
    raise CodecError(f"{place.where}: the values of {_path(cls)} are neither all strings nor all integers")


def _literal(annotation: Any, _metadata: tuple[Any, ...], place: _Place) -> Wire:
    values = get_args(annotation)
    if not _are_symbols(values):
        raise CodecError(f"{place.where}: a Literal holds strings of letters, digits and underscores")
    return Wire(_symbols(list(values), values, place.hint, place))


def _are_symbols(values: Any) -> bool:
    return bool(values) and all(isinstance(value, str) and _AVRO_NAME.fullmatch(value) for value in values)


def _symbols(values: list[str], owner: Any, short: str, place: _Place) -> Any:
    name = place.named(short)
    known = name in place.names.defined
    namespace, _, _ = name.rpartition(".")
    schema = {"type": "enum", "name": short, "namespace": namespace, "symbols": values}
    return place.names.once(name, owner, name if known else schema)


def _array(annotation: Any, _metadata: tuple[Any, ...], place: _Place) -> Wire:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        raise CodecError(f"{place.where}: of tuples only tuple[X, ...] can travel")
    item = _wire(args[0], (), place)
    pack, unpack = item.pack, item.unpack
    to_list: Convert | None = list if origin is tuple else None
    from_list: Convert | None = tuple if origin is tuple else None
    if pack is not None:
        to_list = lambda values: [pack(value) for value in values]  # noqa: E731
    if unpack is not None:
        from_list = lambda values: origin(unpack(value) for value in values)  # noqa: E731
    return Wire({"type": "array", "items": item.schema}, to_list, from_list)


def _map(annotation: Any, _metadata: tuple[Any, ...], place: _Place) -> Wire:
    args = get_args(annotation)
    if args[0] is not str:
        raise CodecError(f"{place.where}: the keys of a dict that travels are strings")
    value = _wire(args[1], (), place)
    pack, unpack = value.pack, value.unpack
    schema = {"type": "map", "values": value.schema}
    return Wire(
        schema,
        None if pack is None else lambda values: {key: pack(each) for key, each in values.items()},
        None if unpack is None else lambda values: {key: unpack(each) for key, each in values.items()},
    )


def _union(annotation: Any, metadata: tuple[Any, ...], place: _Place) -> Wire:
    members = get_args(annotation)
    solid = [member for member in members if member is not type(None)]
    wires = [_wire(member, metadata, place) for member in solid]
    nullable = len(solid) < len(members)
    if len(wires) == 1:
        return _optional(wires[0])
    kinds = [_kind(wire.schema) for wire in wires]
    if any(wire.pack or wire.unpack for wire in wires) or len(set(kinds)) < len(kinds):
        raise CodecError(f"{place.where}: a union of these types cannot travel; one of them and None can")
    return Wire([*(["null"] if nullable else []), *(wire.schema for wire in wires)])


def _optional(wire: Wire) -> Wire:
    pack, unpack = wire.pack, wire.unpack
    is_record = isinstance(wire.schema, dict) and wire.schema["type"] == "record"
    if is_record or (isinstance(wire.schema, str) and "." in wire.schema and pack is not None):
        name = wire.schema if isinstance(wire.schema, str) else _full_name(wire.schema)
        # Named, so that the writer need not try every branch of the union on it.
        packed: Convert | None = lambda value: None if value is None else (name, pack(value))  # type: ignore[misc]  # noqa: E731
    else:
        packed = None if pack is None else lambda value: None if value is None else pack(value)
    unpacked = None if unpack is None else lambda value: None if value is None else unpack(value)
    return Wire(["null", wire.schema], packed, unpacked)


def _full_name(schema: dict[str, Any]) -> str:
    return f"{schema['namespace']}.{schema['name']}"


def _kind(schema: Any) -> str:
    return str(schema["type"]) if isinstance(schema, dict) else str(schema)


def _limit(metadata: tuple[Any, ...], name: str, default: int) -> int:
    for each in metadata:
        for constraint in each.metadata if isinstance(each, FieldInfo) else (each,):
            found = getattr(constraint, name, None)
            if found is not None:
                return int(found)
    return default


_BY_ORIGIN: dict[Any, Callable[[Any, tuple[Any, ...], _Place], Wire]] = {
    Annotated: _annotated,
    Literal: _literal,
    Union: _union,
    types.UnionType: _union,
    dict: _map,
    list: _array,
    tuple: _array,
    np.ndarray: lambda *_: VECTOR,
}


def _path(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else str(cls)
