"""Values as Postgres prints them, as JSON: exactly, or as text.

| Postgres | JSON |
|---|---|
| integers, boolean, real and double precision | number, true or false |
| numeric, money, intervals, uuid, enums, ranges, … | text as it is printed |
| timestamp with time zone | text, `2026-01-31T12:00:00.5Z` |
| json, jsonb | what it says |
| bytea | text, base64 |
| arrays, and pgvector's vector and halfvec | list |
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from nvisy.expressions import FieldType
from nvisy.primitives.values import checked_json

Convert = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class SqlType:
    """A type of the database, domains resolved to what they are made of.

    Attributes:
        name: As people write it, `timestamp with time zone`; two columns of one name hold the same values.
        base: `pg_type.typname` of the type below all domains, `timestamptz`.
        element: Of an array: `base` of its elements, else empty.
    """

    name: str
    base: str
    element: str = ""

    @property
    def convert(self) -> Convert:
        """Text to JSON."""
        if self.element:
            return partial(_array, CONVERTERS.get(self.element, bytes.decode))
        return CONVERTERS.get(self.base, bytes.decode)

    def field(self, *, nullable: bool) -> FieldType:
        """What an expression sees of a column of this type."""
        kind = FieldType.LIST if self.element else _FIELDS.get(self.base, FieldType.STRING)
        return _NULLABLE.get(kind, FieldType.DYN) if nullable else kind


def _float(value: bytes) -> Any:
    number = float(value)
    return number if math.isfinite(number) else value.decode()


_LONG_NUMBER = re.compile(rb"\d{19}")


def _json(value: bytes) -> Any:
    # orjson makes a float of an integer that is too long for 64 bits, without a word.
    loads = json.loads if _LONG_NUMBER.search(value) else orjson.loads
    try:
        return checked_json(loads(value))
    except ValueError:  # deeper, or with longer numbers, than what flows may be
        return value.decode()


def _moment(value: bytes) -> Any:
    text = value.decode()
    if not text[:1].isdigit() or text.endswith("BC"):
        return text  # infinity, -infinity, and what ISO 8601 has no form for
    return text.replace(" ", "T").removesuffix("+00") + ("Z" if text.endswith("+00") else "")


def _vector(value: bytes) -> Any:
    return list(map(float, orjson.loads(value)))


def _bytes(value: bytes) -> Any:
    return b64encode(bytes.fromhex(value[2:].decode())).decode()


_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PART = re.compile(r'[{},]|"(?:[^"\\]|\\.)*"|[^{},"]+', re.DOTALL)


def _array(convert: Convert, value: bytes) -> Any:
    """The elements of an array's text, `{a,"b,c",NULL}`, nested as they are."""
    text = value.decode()
    body = text.partition("=")[2] if text.startswith("[") else text  # bounds that are not the usual ones
    outermost: list[Any] = []
    open_lists = [outermost]
    for part in _PART.findall(body):
        if part == "{":
            inner: list[Any] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif part == "}":
            open_lists.pop()
        elif part == "NULL":
            open_lists[-1].append(None)
        elif part != ",":
            plain = _ESCAPED.sub(r"\1", part[1:-1]) if part[0] == '"' else part
            open_lists[-1].append(convert(plain.encode()))
    return outermost[0]


CONVERTERS: dict[str, Convert] = {
    "bool": lambda value: value == b"t",
    **dict.fromkeys(("int2", "int4", "int8", "oid"), int),
    **dict.fromkeys(("float4", "float8"), _float),
    **dict.fromkeys(("json", "jsonb"), _json),
    **dict.fromkeys(("vector", "halfvec"), _vector),
    **dict.fromkeys(("timestamptz", "timestamp"), _moment),
    "bytea": _bytes,
}
"""By `pg_type.typname`; the others are text."""

_FIELDS = {
    "bool": FieldType.BOOL,
    **dict.fromkeys(("int2", "int4", "int8", "oid"), FieldType.INT),
    **dict.fromkeys(("float4", "float8"), FieldType.DOUBLE),
    **dict.fromkeys(("json", "jsonb"), FieldType.DYN),
    **dict.fromkeys(("vector", "halfvec"), FieldType.LIST),
}
_NULLABLE = {
    FieldType.STRING: FieldType.NULLABLE_STRING,
    FieldType.INT: FieldType.NULLABLE_INT,
    FieldType.DOUBLE: FieldType.NULLABLE_DOUBLE,
    FieldType.BOOL: FieldType.NULLABLE_BOOL,
}
