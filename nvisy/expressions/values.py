"""Python values into CEL and back, losing nothing on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from google.protobuf import timestamp_pb2, wrappers_pb2  # type: ignore[import-untyped]

from nvisy.expressions.fields import FieldType

_PYTHON_TYPE: dict[FieldType, type] = {
    FieldType.STRING: str,
    FieldType.NULLABLE_STRING: str,
    FieldType.INT: int,
    FieldType.NULLABLE_INT: int,
    FieldType.DOUBLE: float,
    FieldType.NULLABLE_DOUBLE: float,
    FieldType.BOOL: bool,
    FieldType.NULLABLE_BOOL: bool,
    FieldType.BYTES: bytes,
    FieldType.TIMESTAMP: datetime,
    FieldType.STRINGS: list,
    FieldType.LIST: list,
    FieldType.MAP: dict,
}
_KINDRED: dict[type, Any] = {
    float: (float, int),
    list: (list, tuple),
    bytes: (bytes, bytearray, memoryview),
    dict: Mapping,
}


class Unfit(Exception):  # noqa: N818 - the message completes a sentence
    """A value that an expression cannot take or give; it completes "field 'x' …" or "the result …"."""


def binder(field_type: FieldType, entries: frozenset[str] | None) -> Callable[[Any], Any]:
    """What turns the value of a field into what CEL takes; it raises `Unfit`.

    Args:
        field_type: The declared type of the field.
        entries: The entries of a MAP that the expression reads, the others are left out; None for all.
    """
    if field_type is FieldType.MAP and entries is not None:
        return partial(_bind_entries, entries)
    return partial(_bind, field_type, recognizer(field_type))


def recognizer(field_type: FieldType) -> Callable[[Any], bool]:
    """What tells whether a plain value is of the type; a bool is no int here, and an int no double."""
    if field_type is FieldType.DYN:
        return lambda value: True
    if field_type is FieldType.STRINGS:
        return lambda value: type(value) is list and all(type(item) is str for item in value)
    python_type = _PYTHON_TYPE[field_type]
    if field_type.nullable:
        return lambda value: type(value) is python_type or value is None
    return lambda value: type(value) is python_type


def to_cel(value: Any) -> Any:
    """A value of any type as CEL takes it.

    The package hands text and bytes over as C strings and cuts them at the first NUL without a word, so those
    go wrapped in protobuf messages, which CEL takes for the text itself. So do times: a checked expression
    takes them no other way.
    """
    match value:
        case str():
            return _wrapped(value) if "\0" in value else str.__str__(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {_entry_name(name): to_cel(entry) for name, entry in value.items()}
        case list() | tuple():
            return [to_cel(item) for item in value]
        case bytes() | bytearray():
            return wrappers_pb2.BytesValue(value=bytes(value))
        case datetime():
            return _moment(value)
    raise Unfit(f"holds a value of type {type(value).__name__}, which an expression cannot read")


def from_cel(value: Any) -> Any:
    """What CEL gave (`Value.plain_value`) as plain Python. What no record holds (a time) is `Unfit`."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytearray():
            return bytes(value)
        case list():
            return [from_cel(item) for item in value]
        case dict():
            return {name: from_cel(entry) for name, entry in value.items()}
    raise Unfit(f"is a {type(value).__name__.lower()}, which no record can hold; write string(…)")


def type_name(value: Any) -> str:
    """What people call the type of `value` in an expression."""
    names = {type(None): "null", str: "string", float: "double", dict: "map"}
    return names.get(type(value), type(value).__name__)


def _bind(field_type: FieldType, is_recognized: Callable[[Any], bool], value: Any) -> Any:
    if is_recognized(value):
        return to_cel(value)
    plain = _widened(field_type, value)
    if not is_recognized(plain):
        raise _mistyped(field_type, value)
    return to_cel(plain)


def _widened(field_type: FieldType, value: Any) -> Any:
    """A value of a kindred Python type (a tuple, a `StrEnum`, an int for a double) as the type itself."""
    python_type = _PYTHON_TYPE[field_type]
    kindred = isinstance(value, _KINDRED.get(python_type, python_type)) and type(value) is not bool
    if not kindred:
        return value
    return str.__str__(value) if python_type is str else python_type(value)


def _bind_entries(entries: frozenset[str], value: Any) -> Any:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise _mistyped(FieldType.MAP, value)
    return {_entry_name(name): to_cel(value[name]) for name in entries if name in value}


def _moment(value: datetime) -> Any:
    if value.tzinfo is None:
        raise Unfit("is a time without a time zone")
    moment = timestamp_pb2.Timestamp()
    moment.FromDatetime(value)
    return moment


def _wrapped(text: str) -> Any:
    try:
        return wrappers_pb2.StringValue(value=text)
    except UnicodeEncodeError:
        raise Unfit("holds half of a surrogate pair, which is not valid Unicode") from None


def _entry_name(name: Any) -> Any:
    if isinstance(name, str) and "\0" in name:
        raise Unfit("holds an entry whose name has a NUL character")
    return name


def _mistyped(field_type: FieldType, value: Any) -> Unfit:
    return Unfit(f"is {type_name(value)}, not {field_type.value}")
