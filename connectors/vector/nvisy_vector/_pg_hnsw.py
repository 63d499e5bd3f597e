"""Builds pgvector's HNSW index after a load: with it in place, a load is some 27 times slower."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nvisy_vector._pg_database import Connection

_STATE = """SELECT c.relname, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
  JOIN pg_am AS a ON a.oid = c.relam WHERE i.indrelid = to_regclass(%s) AND a.amname = 'hnsw'"""


def build(connection: Connection, table: str, operators: str, from_records: int) -> None:
    """Build the index if the table has enough records and none yet; writers go on meanwhile.

    One worker of a run builds and the others leave it to that one. What a build that was killed left behind is
    removed first.
    """
    from psycopg import errors  # noqa: PLC0415

    states = connection.execute(_STATE, (f'"{table}"',)).fetchall()
    if any(valid for _, valid in states) or not _has(connection, table, from_records):
        return
    if connection.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (table,)).fetchone() != (True,):
        return
    try:
        try:
            _create(connection, table, operators)
        except errors.DiskFull:  # a parallel build wants more shared memory than containers have
            connection.execute("SET max_parallel_maintenance_workers = 0")
            _create(connection, table, operators)
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(hashtext(%s))", (table,))


def _has(connection: Connection, table: str, records: int) -> bool:
    query = f'SELECT count(*) >= %s FROM (SELECT 1 FROM "{table}" LIMIT %s) AS found'
    return connection.execute(query, (max(records, 1), max(records, 1))).fetchone() == (True,)


def _create(connection: Connection, table: str, operators: str) -> None:
    name = f"{table}__hnsw"
    connection.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')
    connection.execute(f'CREATE INDEX CONCURRENTLY "{name}" ON "{table}" USING hnsw (embedding {operators})')
