"""What a database says of its tables: columns, types, and what names a row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from nvisy.errors import Fatal
from nvisy_sql._values import Convert, SqlType

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

_NAME = re.compile(r'(?:"((?:[^"]|"")+)"|([^".]+))(?:\.(?:"((?:[^"]|"")+)"|([^".]+)))?')

_TABLE = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.relreplident::text, pg_table_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p')"""

TYPES = """
WITH RECURSIVE chain(start, oid, typbasetype) AS (
  SELECT oid, oid, typbasetype FROM pg_type WHERE oid = ANY(%(oids)s)
  UNION ALL SELECT chain.start, t.oid, t.typbasetype FROM chain JOIN pg_type t ON t.oid = chain.typbasetype)
SELECT chain.start::bigint, format_type(chain.start, -1), t.typname, coalesce(e.typname, '')
FROM chain JOIN pg_type t ON t.oid = chain.oid
  LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
WHERE chain.typbasetype = 0"""

_COLUMNS = """
SELECT attname, atttypid::bigint, attnotnull FROM pg_attribute
WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""

_KEY = """
SELECT a.attname FROM pg_index i CROSS JOIN unnest(i.indkey) WITH ORDINALITY AS k(attnum, place)
  JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND k.place <= i.indnkeyatts
  AND CASE WHEN %s = 'i' THEN i.indisreplident ELSE i.indisprimary END
ORDER BY k.place"""


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's name in two parts."""

    schema: str
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Of `articles`, `public.articles` or `"My Schema"."My Table"`.

        Raises:
            ValueError: It is no name.
        """
        match = _NAME.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no name of a table; write schema.table")
        first, second = match[1] or match[2], match[3] or match[4]
        parts = (first, second) if second else ("public", first)
        return cls(*(part.replace('""', '"') for part in parts))

    @property
    def quoted(self) -> str:
        """As SQL takes it."""
        return f"{quoted(self.schema)}.{quoted(self.table)}"

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `nullable` unless the table forbids it."""

    name: str
    type: SqlType
    nullable: bool


@dataclass(frozen=True)
class Table:
    """A table as it is now.

    Attributes:
        columns: Those that are read, in their order.
        key: Names of the columns that name a row: the primary key, or the index that is the replica identity.
        identity: `pg_class.relreplident`: `d`, `i`, `f` or `n`.
        where: Only rows for which this holds are read, or empty.
    """

    name: TableName
    oid: int
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    identity: str
    where: str = ""

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def converters(self) -> dict[str, Convert]:
        """By column: its text to JSON."""
        return {column.name: column.type.convert for column in self.columns}

    @cached_property
    def prefix(self) -> str:
        """What the keys of its rows begin with."""
        return f"{escaped(self.name.schema, '%./')}.{escaped(self.name.table, '%./')}/"

    def key_of(self, values: Sequence[str]) -> str:
        """`schema.table/pk[,pk]` of a row, from the texts of its key columns."""
        if len(values) == 1 and "%" not in values[0] and "," not in values[0]:
            return self.prefix + values[0]
        return self.prefix + ",".join(escaped(value, "%,") for value in values)


def escaped(text: str, characters: str) -> str:
    """A text in which these characters stand as `%2C`; `%` has to be one of them, or it could not be read back."""
    return re.sub(f"[{re.escape(characters)}]", lambda match: f"%{ord(match[0]):02X}", text)


def quoted(name: str) -> str:
    """A name as SQL takes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def types_of(connection: Connection, oids: Sequence[int]) -> dict[int, SqlType]:
    """The types with these oids."""
    rows = connection.execute(TYPES, {"oids": list(oids)}).fetchall()
    return {oid: SqlType(name, base, element) for oid, name, base, element in rows}


def describe(connection: Connection, name: TableName) -> Table:
    """A table with all its columns.

    Raises:
        Fatal: There is no such table, or nothing names its rows.
    """
    row = connection.execute(_TABLE, (name.schema, name.table)).fetchone()
    if row is None:
        raise Fatal(f'there is no table {name} in the database; correct "tables", or create it')
    oid, _, _, _, identity, _ = row
    listed = connection.execute(_COLUMNS, (oid,)).fetchall()
    types = types_of(connection, [type_oid for _, type_oid, _ in listed])
    columns = tuple(Column(each, types[type_oid], not required) for each, type_oid, required in listed)
    key = tuple(each for (each,) in connection.execute(_KEY, (oid, identity)))
    if not key:
        raise Fatal(
            f"table {name} has no primary key, so nothing names its rows: add one, or a unique index over columns that "
            f"are NOT NULL and ALTER TABLE {name.quoted} REPLICA IDENTITY USING INDEX …"
        )
    return Table(name, oid, columns, key, identity)


def narrowed(table: Table, columns: Sequence[str], where: str) -> Table:
    """The table with only these columns (none: all) and rows.

    Raises:
        Fatal: It has no such column, or its key is not among them.
    """
    absent = [name for name in columns if name not in table.by_name]
    if absent:
        raise Fatal(f'table {table.name} has no column {absent[0]!r}; correct "columns"')
    missing = [name for name in table.key if columns and name not in columns]
    if missing:
        raise Fatal(f'table {table.name}: "columns" leaves out {missing[0]!r}, which names its rows; add it')
    kept = tuple(column for column in table.columns if not columns or column.name in columns)
    return replace(table, columns=kept, where=where)


def check_identity(table: Table, *, full: bool) -> None:
    """Refuse a table whose updates and deletes Postgres would not let through, or, with `full`, not whole.

    Raises:
        Fatal: Its replica identity does not do.
    """
    alter = f"ALTER TABLE {table.name.quoted} REPLICA IDENTITY"
    if table.identity == "n":
        raise Fatal(
            f"table {table.name} has REPLICA IDENTITY NOTHING, so updates and deletes cannot be told: {alter} DEFAULT"
        )
    if full and table.identity != "f":
        raise Fatal(
            f"table {table.name}: the stream would leave out large values that an update left alone, and this "  # noqa: S608 - prose
            f'source was told not to fetch them: {alter} FULL, or set "toast" to "fetch"'
        )
