"""The tree of a search filter and what it means; `nvisy.expressions.filter` says it in words."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Field = tuple[str, ...]
"""A path into a record: `("key",)`, `("source_uri",)` or `("metadata", name)`; the name is any text."""

Operand = str | int | float | bool
Operator = Literal["==", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True, slots=True)
class Compare:
    """`field op value`. With `<`, `<=`, `>` and `>=` the value is no bool."""

    field: Field
    op: Operator
    value: Operand


@dataclass(frozen=True, slots=True)
class In:
    """`field in [values]`; no values match nothing."""

    field: Field
    values: tuple[Operand, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """`'value' in field`: the field is a list of strings, and the value one of them."""

    field: Field
    value: str


@dataclass(frozen=True, slots=True)
class Has:
    """`has(field)`: there, and not null."""

    field: Field


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more parts; no part is an And itself."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more parts; no part is an Or itself."""

    parts: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Whatever the part does not match, records without the field included."""

    part: Filter


Filter = Compare | In | Contains | Has | And | Or | Not


def matches(filter: Filter, record: Mapping[str, Any]) -> bool:  # noqa: A002, PLR0911 - a return per kind
    """Whether a record passes the filter.

    Args:
        filter: What `parse_filter` gave.
        record: Its `key`, `source_uri` and `metadata`.
    """
    match filter:
        case Compare(field, op, value):
            return _holds(op, _look_up(record, field), value)
        case In(field, values):
            found = _look_up(record, field)
            return any(_holds("==", found, value) for value in values)
        case Contains(field, value):
            found = _look_up(record, field)
            return isinstance(found, list | tuple) and value in found
        case Has(field):
            return _look_up(record, field) is not None
        case And(parts):
            return all(matches(part, record) for part in parts)
        case Or(parts):
            return any(matches(part, record) for part in parts)
        case Not(part):
            return not matches(part, record)


_OPERATORS: dict[Operator, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _look_up(record: Mapping[str, Any], field: Field) -> Any:
    value: Any = record
    for name in field:
        value = value.get(name)
        if value is None:
            return None
    return value


def _holds(op: Operator, found: Any, value: Operand) -> bool:
    if found is None:
        return False
    if _kind(found) is not _kind(value):
        return op == "!="
    return _OPERATORS[op](found, value)


def _kind(value: Any) -> type:
    """The type as a filter sees it: there is one type of number, and a bool is none."""
    if isinstance(value, bool):
        return bool
    if isinstance(value, int | float):
        return float
    return str if isinstance(value, str) else list
