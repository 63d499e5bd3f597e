"""The publication: which tables, columns and rows the server tells us of. Made if it is missing, else verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nvisy.errors import Fatal
from nvisy_sql._connect import said, translated
from nvisy_sql._tables import Table, TableName, check_identity, describe, quoted

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

OLDEST = 150_000
"""Column lists and row filters came with Postgres 15."""

_PUBLICATION = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot FROM pg_publication WHERE pubname = %s"""
_PUBLISHED = """
SELECT schemaname, tablename, attnames::text[], coalesce(rowfilter, '') FROM pg_publication_tables WHERE pubname = %s"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A table that the graph names: which of its columns (empty: all), and which of its rows."""

    name: TableName
    columns: tuple[str, ...] = ()
    where: str = ""

    @property
    def clause(self) -> str:
        """As CREATE PUBLICATION takes it."""
        columns = f" ({', '.join(map(quoted, self.columns))})" if self.columns else ""
        return f"{self.name.quoted}{columns}" + (f" WHERE ({self.where})" if self.where else "")


def ensure(
    connection: Connection, publication: str, wanted: Sequence[Wanted], *, full: bool
) -> tuple[Table, ...]:
    """The tables as the publication publishes them; the publication is made, or completed, where that is needed.

    Raises:
        Fatal: It cannot be made by this user, or is another than the graph asks for.
    """
    if connection.info.server_version < OLDEST:
        raise Fatal(
            f"Postgres {connection.info.server_version // 10_000} is too old for this: 15 or newer is needed"
        )
    described = [describe(connection, each.name) for each in wanted]
    for table in described:
        check_identity(table, full=full)
    with translated(f"publication {publication}"):
        settings = connection.execute(_PUBLICATION, (publication,)).fetchone()
        if settings is None:
            _create(connection, publication, wanted)
        else:
            _check_settings(publication, *settings)
            _complete(connection, publication, wanted)
        return verified(connection, publication, wanted, described)


def verified(
    connection: Connection, publication: str, wanted: Sequence[Wanted], described: Sequence[Table]
) -> tuple[Table, ...]:
    """The tables with the columns and rows that the publication has of them. Writes nothing.

    Raises:
        Fatal: It lacks a table, or has other columns or rows of it than the graph asks for.
    """
    published = _published(connection, publication)
    tables = []
    for each, table in zip(wanted, described, strict=True):
        if (each.name.schema, each.name.table) not in published:
            raise Fatal(
                f"publication {publication} does not hold table {each.name}: "
                f"ALTER PUBLICATION {quoted(publication)} ADD TABLE {each.clause}"
            )
        columns, where = published[each.name.schema, each.name.table]
        if each.columns and set(each.columns) != set(columns):
            raise Fatal(
                f"publication {publication} publishes the columns {', '.join(sorted(columns))} of {each.name}, and the "
                f"graph asks for {', '.join(each.columns)}: ALTER PUBLICATION {quoted(publication)} SET TABLE …"
            )
        missing = sorted(set(table.key) - set(columns))
        if missing:
            raise Fatal(
                f"publication {publication} leaves out {missing[0]}, a key column of {each.name}; add it"
            )
        kept = tuple(column for column in table.columns if column.name in columns)
        tables.append(replace(table, columns=kept, where=where))
    return tuple(tables)


def _published(
    connection: Connection, publication: str
) -> Mapping[tuple[str, str], tuple[frozenset[str], str]]:
    rows = connection.execute(_PUBLISHED, (publication,)).fetchall()
    return {(schema, table): (frozenset(columns), where) for schema, table, columns, where in rows}


def _create(connection: Connection, publication: str, wanted: Sequence[Wanted]) -> None:
    statement = (
        f"CREATE PUBLICATION {quoted(publication)} FOR TABLE {', '.join(each.clause for each in wanted)} "
        "WITH (publish_via_partition_root = true)"
    )
    _execute(connection, statement, f"publication {publication} is not there, and this user may not make it")


def _complete(connection: Connection, publication: str, wanted: Sequence[Wanted]) -> None:
    published = _published(connection, publication)
    missing = [each for each in wanted if (each.name.schema, each.name.table) not in published]
    if missing:
        clauses = ", ".join(each.clause for each in missing)
        names = ", ".join(str(each.name) for each in missing)
        _execute(
            connection,
            f"ALTER PUBLICATION {quoted(publication)} ADD TABLE {clauses}",
            f"publication {publication} does not hold {names}, and this user may not add to it",
        )


def _execute(connection: Connection, statement: str, refused: str) -> None:
    import psycopg  # noqa: PLC0415
    from psycopg import errors  # noqa: PLC0415

    try:
        connection.execute(statement.encode())
    except errors.InsufficientPrivilege as error:
        raise Fatal(f"{refused} ({said(error)}); let an owner of the tables run: {statement}") from error
    except errors.DuplicateObject:  # another process was quicker
        return
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        raise Fatal(f"{statement}: {said(error)}") from error


def _check_settings(publication: str, everything: bool, via_root: bool) -> None:
    if not everything:
        raise Fatal(
            f"publication {publication} leaves out some kinds of change, and the index would keep what is gone: "
            f"ALTER PUBLICATION {quoted(publication)} SET (publish = 'insert, update, delete, truncate')"
        )
    if not via_root:
        raise Fatal(
            f"publication {publication} tells of partitions under their own names: "
            f"ALTER PUBLICATION {quoted(publication)} SET (publish_via_partition_root = true)"
        )
