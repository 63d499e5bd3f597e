"""Schemas that are safe to read with: whatever a registry hands out is judged here before a reader sees it.

A recursive schema lets a hundred kilobytes crash the interpreter, and an array of nothing lets five bytes become
thirty million items.
"""

from __future__ import annotations

from typing import Any

import fastavro
import orjson

from nvisy.errors import CodecError
from nvisy.primitives.values import MAX_DEPTH

MAX_SCHEMA_CHARS = 1 << 20
"""The longest schema text that is looked at."""

_MAX_JSON_DEPTH = MAX_DEPTH * 4
_WIDTHS = {"null": 0, "boolean": 1, "int": 1, "long": 1, "float": 4, "double": 8, "bytes": 1, "string": 1}


def readable(schema: str | list[Any] | dict[str, Any], *, logical_types: bool = False) -> Any:
    """`schema`, parsed for fastavro, once it is known to be safe.

    Args:
        schema: Avro schema, as text or as JSON.
        logical_types: Whether dates, times and decimals are to be read as such. Ours are read as the numbers
            that they are on the wire, and converted by `derive`.

    Raises:
        CodecError: It is no Avro schema, or one that is not safe to read with.
    """
    loaded = _loaded(schema) if isinstance(schema, str) else schema
    _check_json_depth(loaded)
    names: dict[str, Any] = {}
    try:
        parsed = fastavro.parse_schema(loaded if logical_types else _plain(loaded), names)
    except Exception as error:  # besides its own error, fastavro raises whatever it stumbles over
        raise CodecError(f"not an Avro schema: {type(error).__name__}: {error}") from None
    _Judge(names).width(parsed, 1)
    _convert_defaults(names)
    return parsed


def _loaded(text: str) -> Any:
    if len(text) > MAX_SCHEMA_CHARS:
        raise CodecError(
            f"a schema of {len(text)} characters is longer than the {MAX_SCHEMA_CHARS} that are read"
        )
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise CodecError(f"not an Avro schema: {error}") from None


def _check_json_depth(schema: Any) -> None:
    waiting = [(schema, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _MAX_JSON_DEPTH:
            raise CodecError(f"a schema nested more than {MAX_DEPTH} levels deep is refused")
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        waiting.extend((child, depth + 1) for child in children)


def _plain(schema: Any) -> Any:
    """`schema` without its logical types."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if isinstance(schema, dict):
        return {
            name: each if name == "default" else _plain(each)
            for name, each in schema.items()
            if name != "logicalType"
        }
    return schema


def _convert_defaults(names: dict[str, Any]) -> None:
    # Avro writes the default of bytes as text, and fastavro would hand out that text for a field that is missing.
    for schema in names.values():
        for field in schema.get("fields", ()):
            if isinstance(field.get("default"), str) and _first_kind(field["type"]) == "bytes":
                field["default"] = field["default"].encode("latin-1")


def _first_kind(schema: Any) -> Any:
    if isinstance(schema, list):
        return _first_kind(schema[0])
    return schema["type"] if isinstance(schema, dict) else schema


class _Judge:
    """Walks a parsed schema, every name once."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names
        self._widths: dict[str, int] = {}
        self._open: set[str] = set()

    def width(self, schema: Any, depth: int) -> int:
        """The fewest bytes that a value can take."""
        if depth > MAX_DEPTH:
            raise CodecError(f"a schema nested more than {MAX_DEPTH} levels deep is refused")
        if isinstance(schema, str):
            return _WIDTHS[schema] if schema in _WIDTHS else self.width(self._names[schema], depth)
        if isinstance(schema, list):
            return 1 + min((self.width(branch, depth + 1) for branch in schema), default=0)
        kind = schema["type"]
        if kind in ("record", "error"):
            return self._record(schema, depth)
        if kind in ("array", "map"):
            return self._collection(schema, depth)
        if kind == "fixed":
            return int(schema["size"])
        return 1 if kind == "enum" else self.width(kind, depth + 1)

    def _record(self, schema: dict[str, Any], depth: int) -> int:
        name = schema["name"]
        if name in self._open:
            raise CodecError(f"the schema of {name} refers back to itself: recursive schemas are refused")
        if name not in self._widths:
            self._open.add(name)
            self._widths[name] = sum(self.width(each["type"], depth + 1) for each in schema["fields"])
            self._open.remove(name)
        return self._widths[name]

    def _collection(self, schema: dict[str, Any], depth: int) -> int:
        item = self.width(schema["values" if schema["type"] == "map" else "items"], depth + 1)
        if not item and schema["type"] == "array":
            raise CodecError("an array of items that take no bytes is refused: it could have any length")
        return 1
