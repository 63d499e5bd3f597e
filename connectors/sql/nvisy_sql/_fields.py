"""What expressions see of rows: columns with their types, where the database can be asked, else any name."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Fatal, Unreachable
from nvisy.expressions import FieldType
from nvisy_sql._connect import connect, translated
from nvisy_sql._publication import Wanted
from nvisy_sql._tables import Table, describe
from nvisy_sql.row import Row

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

ALWAYS = {"key": FieldType.STRING, "table": FieldType.STRING, "row": FieldType.MAP}
"""A column of such a name is reached as `row['key']`."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS = frozenset({"true", "false", "null", "in"})
_TIMEOUT_S = 2

_log = logging.getLogger(__name__)


def shape_of(dsn: str, wanted: Sequence[Wanted]) -> Shape:
    """The shape of these tables' rows; an open one where the database does not answer."""
    try:
        with connect(dsn, "nvisy lint", connect_timeout=_TIMEOUT_S) as connection:
            return Shape(Row, fields=tuple(fields_of(_described(connection, wanted)).items()))
    except Unreachable as error:
        _log.warning("the types of columns were not checked: %s", error)
    return Shape(Row, fields=tuple(ALWAYS.items()), open=True)


def _described(connection: Connection, wanted: Sequence[Wanted]) -> list[Table]:
    tables = []
    for place, each in enumerate(wanted):
        try:
            with translated(f"table {each.name}"):
                tables.append(describe(connection, each.name))
        except Fatal as error:
            raise ShapeMismatch(str(error), param=f"/tables/{place}") from error
        absent = [name for name in each.columns if name not in tables[-1].by_name]
        if absent:
            raise ShapeMismatch(f"table {each.name} has no column {absent[0]!r}", param=f"/tables/{place}")
    return tables


def fields_of(tables: Sequence[Table]) -> dict[str, FieldType]:
    """Name and type of what an expression may use of the rows of all these tables."""
    fields: dict[str, FieldType] = {}
    for table in tables:
        for column in table.columns:
            kind = column.type.field(nullable=column.nullable)
            if is_field(column.name):
                fields[column.name] = _merged(fields.get(column.name, kind), kind)
    for name in fields:
        if any(name not in table.by_name for table in tables):
            fields[name] = FieldType.DYN  # null in the rows of the other tables
    return {**fields, **ALWAYS}


def is_field(name: str) -> bool:
    """Whether an expression can name a column as it is."""
    return _IDENTIFIER.fullmatch(name) is not None and name not in _WORDS


def _merged(one: FieldType, other: FieldType) -> FieldType:
    return one if one is other else FieldType.DYN
