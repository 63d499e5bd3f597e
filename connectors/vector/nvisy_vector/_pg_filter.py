"""How Postgres is asked for the fields of a record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nvisy.expressions.filter import Field, Operand
from nvisy_vector._sql_filter import Dialect, Entry, Sql

_NULL = Sql("NULL")
_VALUE = "(metadata->%s::text)"
_TEXT = "(metadata->>%s::text)"


def _entry(field: Field) -> Entry:
    if len(field) == 1:
        column = Sql(f'("{field[0]}" COLLATE "C")')
        return Entry(column, column, _NULL, _NULL, lambda _value: Sql("false"))
    name = field[1]
    kind = f"jsonb_typeof({_VALUE})"
    return Entry(
        there=Sql(f"nullif({kind}, 'null')", [name]),
        string=Sql(f"(CASE {kind} WHEN 'string' THEN {_TEXT} END COLLATE \"C\")", [name, name]),
        number=Sql(f"CASE {kind} WHEN 'number' THEN {_TEXT}::numeric END", [name, name]),
        boolean=Sql(f"CASE {kind} WHEN 'boolean' THEN {_TEXT}::boolean END", [name, name]),
        has=lambda value: Sql(f"({kind} = 'array' AND {_VALUE} ? %s)", [name, name, value]),
    )


def _value(value: Operand) -> Any:
    return value if isinstance(value, bool | str) else Decimal(repr(value))


POSTGRES = Dialect("%s", _entry, _value)
