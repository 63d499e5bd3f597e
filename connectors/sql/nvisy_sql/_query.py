"""Reading tables again and again by a column that rises, where logical replication is not to be had.

Sees rows that were added or changed, one version at the most between two looks. A row that is gone is not seen: only a
full pass (`--adopt`) takes it out of the index.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nvisy.connector.source import Batch
from nvisy.errors import Fatal
from nvisy_sql._changes import event_of, row_change
from nvisy_sql._connect import connect, place_of, translated
from nvisy_sql._publication import Wanted
from nvisy_sql._rows import PageSize, columns_of, texts
from nvisy_sql._tables import Table, describe, narrowed, quoted

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

_TIMES = frozenset({"timestamptz", "timestamp"})


@dataclass(frozen=True, slots=True)
class QuerySettings:
    """What a reader has to know.

    Attributes:
        cursor: The column that rises with every change.
        settle_s: A time in it has to be so old: transactions that are still open may have written earlier ones.
        poll_s: How long to wait when there was nothing.
        ends: Stop when there is nothing more.
    """

    dsn: str
    tables: tuple[Wanted, ...]
    cursor: str
    settle_s: float
    poll_s: float
    ends: bool

    def connected(self) -> Connection:
        """A connection for queries."""
        return connect(self.dsn, "nvisy")


class QueryReader:
    """Reads on behind a position: for each table, the cursor and the key of the row that was read last."""

    def __init__(self, settings: QuerySettings, position: Any | None) -> None:
        self._settings = settings
        self._connection = settings.connected()
        try:
            self._tables = [
                CursorTable.of(self._connection, each, settings.cursor) for each in settings.tables
            ]
        except BaseException:
            self._connection.close()
            raise
        stored = position or {"tables": {}, "complete": False}
        names = [str(table.table.name) for table in self._tables]
        self._after: dict[str, list[str]] = {name: stored["tables"].get(name, []) for name in names}
        self._complete: bool = stored["complete"]
        self._place = place_of(settings.dsn)
        self._size = PageSize()
        self._quiet = 0
        self._next = 0
        self._ended = False

    def read(self, limit: int, timeout_s: float) -> Batch:
        """The next rows of one table; none when every table has been looked at in vain."""
        if self._ended:
            return self._batch(())
        if self._quiet == len(self._tables):
            self._complete = True
            self._ended = self._settings.ends
            if not self._ended:
                time.sleep(min(timeout_s, self._settings.poll_s))
            self._quiet = 0
            return self._batch((), end=self._ended)
        table = self._tables[self._next]
        name = str(table.table.name)
        limit = min(limit, self._size.rows)
        with translated(f"table {name}"):
            rows = table.page(self._connection, self._after[name], limit, self._settings.settle_s)
        if len(rows) < limit:
            self._next = (self._next + 1) % len(self._tables)
        self._quiet = 0 if rows else self._quiet + 1
        if rows:
            self._size.seen(rows)
            self._after[name] = table.place_of(rows[-1])
        return self._batch([event_of(row_change(table.table, table.names, row), self._place) for row in rows])

    def confirm(self, position: Any) -> None:
        """A table forgets nothing."""

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self._connection.close()

    def _batch(self, events: Sequence[Any], *, end: bool = False) -> Batch:
        position = {"tables": dict(self._after), "complete": self._complete}
        return Batch(events, position, end=end, complete=self._complete)


@dataclass(frozen=True, slots=True)
class CursorTable:
    """A table, and the columns by which its rows are read in order: the cursor, then what else names a row."""

    table: Table
    order: tuple[str, ...]

    @classmethod
    def of(cls, connection: Connection, wanted: Wanted, cursor: str) -> CursorTable:
        """Look the table up.

        Raises:
            Fatal: It is missing, nothing names its rows, or it has no such cursor.
        """
        with translated(f"table {wanted.name}"):
            table = narrowed(describe(connection, wanted.name), wanted.columns, wanted.where)
        column = table.by_name.get(cursor)
        if column is None:
            raise Fatal(f'table {wanted.name} has no column {cursor!r}; correct "cursor"')
        if column.nullable:
            raise Fatal(
                f"table {wanted.name}: rows in which {cursor} is null would never be read: "
                f"ALTER TABLE {wanted.name.quoted} ALTER {quoted(cursor)} SET NOT NULL"
            )
        return cls(table, (cursor, *(name for name in table.key if name != cursor)))

    @property
    def names(self) -> list[str]:
        """The columns that a page has."""
        return [column.name for column in self.table.columns]

    def page(
        self, connection: Connection, after: Sequence[str], limit: int, settle_s: float
    ) -> list[list[bytes | None]]:
        """The rows behind a place, at most so many."""
        kinds = [self.table.by_name[name].type for name in self.order]
        names = ", ".join(map(quoted, self.order))
        conditions = [f"({self.table.where})"] if self.table.where else []
        if after:
            bounds = ", ".join(f"${place}::text::{kind.name}" for place, kind in enumerate(kinds, 1))
            conditions.append(f"({names}) > ({bounds})")
        if kinds[0].base in _TIMES:
            conditions.append(f"{quoted(self.order[0])} < now() - interval '{settle_s} seconds'")
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        statement = (
            f"SELECT {columns_of(self.table)} FROM {self.table.name.quoted} {where}"  # noqa: S608 - quoted, bound
            f"ORDER BY {names} LIMIT {limit}"
        )
        return texts(connection, statement, list(after))

    def place_of(self, row: Sequence[bytes | None]) -> list[str]:
        """Where a row stands in the order, as text."""
        by_name = dict(zip(self.names, row, strict=True))
        return [(by_name[name] or b"").decode() for name in self.order]
