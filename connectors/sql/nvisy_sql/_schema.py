"""Tables whose columns change while they are read: what goes on, and what has to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nvisy.errors import Fatal, Refused
from nvisy_sql import _pgoutput as pgoutput
from nvisy_sql._connect import translated
from nvisy_sql._decode import Described
from nvisy_sql._tables import Table, TableName, describe, types_of
from nvisy_sql._values import SqlType

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

_ON = "run again: the graph is then checked against the table as it is now"


class Schemas:
    """Compares the tables that a stream describes with those that the graph was checked against."""

    def __init__(self, connected: Callable[[], Connection]) -> None:
        """Asks the database on the connection that `connected` gives."""
        self._connected = connected
        self._types: dict[int, SqlType] = {}

    def described(self, relation: pgoutput.Relation, table: Table) -> Described:
        """How the rows that follow are to be read.

        Raises:
            Refused: The table was renamed, or lacks a column, or has one with other values than before.
        """
        if (relation.schema, relation.table) != (table.name.schema, table.name.table):
            raise Refused(
                f"table {table.name} is called {relation.schema}.{relation.table} now, and its documents are named "
                f'after the old name: rename it back, or name the new one in "tables" and read it anew'
            )
        with translated(f"table {table.name}"):
            types = self._types_of(relation)
        self._check_columns(relation, table, types)
        columns = tuple((column.name, types[column.type_oid].convert) for column in relation.columns)
        names = [column.name for column in relation.columns]
        try:
            key = tuple(names.index(name) for name in table.key)
        except ValueError:
            raise Refused(
                f"table {table.name} has another key than {', '.join(table.key)} now; {_ON}"
            ) from None
        return Described(table, columns, key)

    def _check_columns(self, relation: pgoutput.Relation, table: Table, types: dict[int, SqlType]) -> None:
        there = {column.name: types[column.type_oid] for column in relation.columns}
        gone = [column for column in table.columns if column.name not in there]
        other = [
            column for column in table.columns if not _alike(column.type, there.get(column.name, column.type))
        ]
        if not gone and not other:
            return
        now = self._now(table.name)
        for column in gone:
            if now is None or column.name not in now.by_name:  # else rows from before it was added
                raise Refused(f"table {table.name}: column {column.name} was dropped or renamed; {_ON}")
        for column in other:
            kind = there[column.name]
            if now is None or not _alike(now.by_name[column.name].type, column.type):
                raise Refused(
                    f"table {table.name}: column {column.name} was {column.type.name} and is {kind.name} now, whose "
                    f"values are others to an expression; {_ON}"
                )

    def _now(self, name: TableName) -> Table | None:
        try:
            return describe(self._connected(), name)
        except Fatal:
            return None

    def _types_of(self, relation: pgoutput.Relation) -> dict[int, SqlType]:
        unknown = [column.type_oid for column in relation.columns if column.type_oid not in self._types]
        if unknown:
            self._types |= types_of(self._connected(), unknown)
        # A type that was dropped since is text to us, as it is to the stream.
        return {
            column.type_oid: self._types.get(column.type_oid, SqlType("text", "text"))
            for column in relation.columns
        }


def _alike(before: SqlType, now: SqlType) -> bool:
    """Whether the values of both types are the same to an expression."""
    return before.field(nullable=False) is now.field(nullable=False)
