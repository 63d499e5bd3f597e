"""The fields of a primitive that an expression may use."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import JsonValue

from nvisy.connector.shape import Shape
from nvisy.expressions import FieldType
from nvisy.primitives.primitive import Primitive

_RUNTIME = frozenset({"provenance", "id", "parent", "steps"})
"""What the runtime fills in: an expression sees what a primitive says, and where it comes from as `key`."""
_SCALARS: Mapping[type, FieldType] = {
    bool: FieldType.BOOL,
    int: FieldType.INT,
    float: FieldType.DOUBLE,
    str: FieldType.STRING,
    bytes: FieldType.BYTES,
    datetime: FieldType.TIMESTAMP,
}
_NULLABLE = {
    FieldType.BOOL: FieldType.NULLABLE_BOOL,
    FieldType.INT: FieldType.NULLABLE_INT,
    FieldType.DOUBLE: FieldType.NULLABLE_DOUBLE,
    FieldType.STRING: FieldType.NULLABLE_STRING,
}

_LITERAL = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*(?!\w|\s*\()")
_WORDS = frozenset({"true", "false", "null", "in"})


def fields_in(shape: Shape, text: str) -> Mapping[str, FieldType]:
    """Name and type of every field that the expression `text` may use of what has this shape.

    Of an open shape, every name that the expression uses is a field, of a type that nobody knows.
    """
    if shape.fields is None:
        return fields_of(shape.primitive)
    known = dict(shape.fields)
    if not shape.open:
        return known
    named = set(_NAME.findall(_LITERAL.sub("''", text))) - _WORDS
    return dict.fromkeys(sorted(named), FieldType.DYN) | known


@cache
def fields_of(primitive: type[Primitive]) -> Mapping[str, FieldType]:
    """Name and type of every field of `primitive` that an expression may use.

    `key`, what the source calls the document, is one of them. A vector is not: no expression should touch it,
    and handing it over would cost more than the expression. The same fields are read from primitives as
    attributes.
    """
    fields = {"key": FieldType.STRING}
    for name, info in primitive.model_fields.items():
        kind = _type_of(info.annotation)
        if name not in _RUNTIME and kind is not None:
            fields[name] = kind
    return MappingProxyType(fields)


def _type_of(annotation: Any) -> FieldType | None:  # noqa: PLR0911 - one line for each kind of annotation
    origin = get_origin(annotation)
    if origin is Annotated:
        return _type_of(get_args(annotation)[0])
    if origin is Literal:
        return _same({_type_of(type(value)) for value in get_args(annotation)})
    if origin in (Union, types.UnionType):
        return _union(get_args(annotation))
    if origin in (list, tuple, set, frozenset) or annotation in (list, tuple):
        return _list(get_args(annotation))
    if origin in (dict, Mapping) or annotation is dict:
        return FieldType.MAP
    if annotation in (Any, JsonValue):
        return FieldType.DYN
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, Enum):
        return next((kind for base, kind in _SCALARS.items() if issubclass(annotation, base)), None)
    return _SCALARS.get(annotation)


def _union(members: tuple[Any, ...]) -> FieldType | None:
    plain = [member for member in members if member is not type(None)]
    kind = _same({_type_of(member) for member in plain})
    if kind is None or len(plain) == len(members):
        return kind
    return _NULLABLE.get(kind, FieldType.DYN)


def _list(items: tuple[Any, ...]) -> FieldType | None:
    kinds = {_type_of(item) for item in items if item is not Ellipsis}
    if None in kinds:
        return None
    return FieldType.STRINGS if kinds == {FieldType.STRING} else FieldType.LIST


def _same(kinds: set[FieldType | None]) -> FieldType | None:
    """The one type of all, DYN where they differ, None where there is nothing an expression may use."""
    if len(kinds) == 1:
        return kinds.pop()
    return None if None in kinds else FieldType.DYN
