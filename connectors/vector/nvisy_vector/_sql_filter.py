"""Search filters as SQL conditions. NULL is false: in `WHERE` by itself, under `NOT` by a `coalesce`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nvisy.expressions.filter import And, Compare, Contains, Field, Filter, Has, In, Not, Operand, Or


class Sql(NamedTuple):
    """A piece of SQL and the values of its placeholders, in order."""

    text: str
    values: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """How a field of a record is asked for. Each piece is NULL where it is missing or of another type.

    Attributes:
        there: Not NULL where the field is there and not null.
        string: Its text, ordered by code point.
        number: Its number.
        boolean: Its truth, to be compared with the value that `Dialect.boolean` gives.
        has: `value -> SQL`, whether it is a list with that string.
    """

    there: Sql
    string: Sql
    number: Sql
    boolean: Sql
    has: Callable[[str], Sql]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What differs between two databases.

    Attributes:
        mark: A placeholder, `?` or `%s`.
        entry: `field -> Entry`.
        value: What the driver is given for a number or a bool.
    """

    mark: str
    entry: Callable[[Field], Entry]
    value: Callable[[Operand], Any] = lambda value: value


def condition(where: Filter | None, dialect: Dialect) -> Sql:
    """What goes after `WHERE`; without a filter, everything."""
    return _condition(where, dialect) if where is not None else Sql("true")


def _condition(where: Filter, dialect: Dialect) -> Sql:  # noqa: PLR0911 - one for each kind of filter
    match where:
        case Compare(field, "!=", value):
            entry = dialect.entry(field)
            same = _one_of(entry, [value], dialect)
            return Sql(
                f"({entry.there.text} IS NOT NULL AND NOT coalesce({same.text}, false))",
                [*entry.there.values, *same.values],
            )
        case Compare(field, "==", value):
            return _one_of(dialect.entry(field), [value], dialect)
        case Compare(field, op, value):
            side = _side(dialect.entry(field), value)
            return Sql(f"({side.text} {op} {dialect.mark})", [*side.values, dialect.value(value)])
        case In(field, values):
            return _one_of(dialect.entry(field), values, dialect)
        case Contains(field, value):
            return dialect.entry(field).has(value)
        case Has(field):
            there = dialect.entry(field).there
            return Sql(f"({there.text} IS NOT NULL)", there.values)
        case And(parts):
            return _join(" AND ", (_condition(part, dialect) for part in parts))
        case Or(parts):
            return _join(" OR ", (_condition(part, dialect) for part in parts))
        case Not(part):
            inner = _condition(part, dialect)
            return Sql(f"(NOT coalesce({inner.text}, false))", inner.values)


def _one_of(entry: Entry, values: Sequence[Operand], dialect: Dialect) -> Sql:
    """Whether the field is one of the values, each compared with its own type only."""
    kinds: dict[type, list[Operand]] = {}
    for value in values:
        kinds.setdefault(_kind(value), []).append(value)
    return _join(
        " OR ", [_in(_side(entry, group[0]), group, dialect) for group in kinds.values()] or [Sql("false")]
    )


def _in(side: Sql, values: Sequence[Operand], dialect: Dialect) -> Sql:
    marks = ", ".join(dialect.mark for _ in values)
    return Sql(
        f"({side.text} IN ({marks}))",
        [*side.values, *(dialect.value(value) for value in values)],
    )


def _side(entry: Entry, value: Operand) -> Sql:
    return {bool: entry.boolean, str: entry.string, float: entry.number}[_kind(value)]


def _kind(value: Operand) -> type:
    if isinstance(value, bool):
        return bool
    return str if isinstance(value, str) else float


def _join(operator: str, parts: Iterable[Sql]) -> Sql:
    known = list(parts)
    return Sql(
        f"({operator.join(part.text for part in known)})", [value for part in known for value in part.values]
    )
