"""Reading rows by query: their values as text, as the server prints them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from nvisy.errors import Unreachable
from nvisy_sql._changes import RowChange, row_change
from nvisy_sql._tables import Table, quoted

VISIBLE_S = 60.0
_STILL_OPEN = """
SELECT 1 FROM pg_locks WHERE locktype = 'transactionid' AND granted AND transactionid::text = ANY(%s)"""

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection


def texts(connection: Connection, statement: str, values: Sequence[str | None]) -> list[list[bytes | None]]:
    """The rows that a query gives, each value as text. The values of `statement` are `$1`, `$2` and so on."""
    import psycopg  # noqa: PLC0415

    with psycopg.RawCursor(connection) as cursor:
        cursor.execute(statement.encode(), list(values) or None)
        result: Any = cursor.pgresult
        columns = range(result.nfields)
        return [[result.get_value(row, column) for column in columns] for row in range(result.ntuples)]


def columns_of(table: Table) -> str:
    """The columns that are read, as SQL takes them."""
    return ", ".join(quoted(column.name) for column in table.columns)


def key_types(table: Table) -> list[str]:
    """The types of the key columns, as SQL takes them."""
    return [table.by_name[name].type.name for name in table.key]


def wait_visible(connection: Connection, xids: set[int]) -> None:
    """Wait until a query sees what these transactions did.

    A commit stands in the log, and is streamed, before it is visible: a moment before, or for as long as the server
    waits for a synchronous standby.

    Raises:
        Unreachable: One of them stays invisible.
    """
    until = time.monotonic() + VISIBLE_S
    while connection.execute(_STILL_OPEN, (list(map(str, xids)),)).fetchone() is not None:
        if time.monotonic() > until:
            raise Unreachable(
                "a transaction was streamed and does not become visible: does a synchronous standby answer?"
            )
        time.sleep(0.002)


def by_keys(
    connection: Connection, table: Table, keys: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], RowChange]:
    """The rows that have these keys now, whole; a key without a row is left out."""
    if not keys:
        return {}
    arrays = ", ".join(f"(${place}::text[])::{kind}[]" for place, kind in enumerate(key_types(table), 1))
    names = ", ".join(quoted(name) for name in table.key)
    statement = (
        f"SELECT {columns_of(table)} FROM {table.name.quoted} "  # noqa: S608 - names are quoted, values bound
        f"WHERE ({names}) IN (SELECT * FROM unnest({arrays}))"
    )
    lists: list[Any] = [[key[place] for key in keys] for place in range(len(table.key))]
    found = (
        row_change(table, [column.name for column in table.columns], row)
        for row in texts(connection, statement, lists)
    )
    return {change.key: change for change in found}


class PageSize:
    """How many rows to ask for: few at first, then as many as are some megabytes."""

    FIRST_ROWS = 50
    MOST_ROWS = 1000
    PAGE_BYTES = 4 << 20

    def __init__(self) -> None:
        self.rows = self.FIRST_ROWS

    def seen(self, page: Sequence[Sequence[bytes | None]]) -> None:
        """A page came: the next one may be longer, or should be shorter."""
        n_bytes = sum(len(value) for row in page for value in row if value is not None)
        fitting = self.PAGE_BYTES * len(page) // max(n_bytes, 1)
        self.rows = max(1, min(self.MOST_ROWS, self.rows * 4, fitting))


class Pages:
    """Reads the rows of one part of a table in the order of its key, a page at a time."""

    def __init__(self, table: Table, low: str | None, high: str | None) -> None:
        self._table = table
        self._low = low
        self._high = high
        self._size = PageSize()

    def after(self, connection: Connection, key: tuple[str, ...]) -> Iterator[tuple[list[RowChange], bool]]:
        """Pages behind `key` (empty: from the first row on), each with whether it is the last one."""
        names = [column.name for column in self._table.columns]
        while True:
            limit = self._size.rows
            rows = texts(
                connection, *self._query(key, limit + 1)
            )  # one more than wanted tells whether it goes on
            last = len(rows) <= limit
            page = [row_change(self._table, names, row) for row in rows[:limit]]
            yield page, last
            if last:
                return
            key = page[-1].key
            self._size.seen(rows)

    def _query(self, key: tuple[str, ...], limit: int) -> tuple[str, list[str | None]]:
        table = self._table
        names, kinds = [quoted(name) for name in table.key], key_types(table)
        values: list[str | None] = []
        conditions = [f"({table.where})"] if table.where else []

        def bound(value: str, kind: str) -> str:
            values.append(value)
            return f"${len(values)}::text::{kind}"

        if key:
            placed = ", ".join(bound(value, kind) for value, kind in zip(key, kinds, strict=True))
            conditions.append(f"({', '.join(names)}) > ({placed})")
        elif self._low is not None:
            conditions.append(f"{names[0]} >= {bound(self._low, kinds[0])}")
        if self._high is not None:
            conditions.append(f"{names[0]} < {bound(self._high, kinds[0])}")
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        statement = (
            f"SELECT {columns_of(table)} FROM {table.name.quoted} {where}"  # noqa: S608 - names are quoted, values bound
            f"ORDER BY {', '.join(names)} LIMIT {limit}"
        )
        return statement, values
