"""How SQLite is asked for the fields of a record."""

# ruff: noqa: S608 - nothing but constants goes into the text, values are bound
from __future__ import annotations

import orjson

from nvisy.expressions.filter import Field
from nvisy_vector._sql_filter import Dialect, Entry, Sql

_NULL = Sql("NULL")


def _entry(field: Field) -> Entry:
    if len(field) == 1:
        column = Sql(f'"{field[0]}"')
        return Entry(column, column, _NULL, _NULL, lambda _value: Sql("false"))
    path = "$." + orjson.dumps(field[1]).decode()
    kind = "json_type(metadata, ?)"
    return Entry(
        there=Sql(f"nullif({kind}, 'null')", [path]),
        string=Sql(f"CASE {kind} WHEN 'text' THEN json_extract(metadata, ?) END", [path, path]),
        number=Sql(
            f"CASE WHEN {kind} IN ('integer', 'real') THEN json_extract(metadata, ?) END", [path, path]
        ),
        boolean=Sql(
            f"CASE WHEN {kind} IN ('true', 'false') THEN json_extract(metadata, ?) END", [path, path]
        ),
        has=lambda value: Sql(
            f"({kind} = 'array' AND EXISTS "
            f"(SELECT 1 FROM json_each(metadata, ?) AS item WHERE item.value = ?))",
            [path, path, value],
        ),
    )


SQLITE = Dialect("?", _entry, lambda value: int(value) if isinstance(value, bool) else value)
