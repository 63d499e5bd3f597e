"""Rows into Postgres as fast as it takes them: binary COPY into a staging table, then one upsert."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo

from bench.graphs import DIMENSIONS

BATCH_ROWS = 1_000

_TABLE = f"""CREATE TABLE chunks (
    id text PRIMARY KEY, document text NOT NULL, text text NOT NULL, first int NOT NULL, last int NOT NULL,
    embedding vector({DIMENSIONS}) NOT NULL)"""
_TYPES = ["text", "text", "text", "int4", "int4", "vector"]
_UPSERT = """INSERT INTO chunks SELECT * FROM staging ON CONFLICT (id) DO UPDATE SET
    document = excluded.document, text = excluded.text, first = excluded.first, last = excluded.last,
    embedding = excluded.embedding"""

Row = tuple[str, str, str, int, int]


class Vector(bytes):
    """float32, big-endian."""

    __slots__ = ()


class Table:
    """An open table of chunks."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn)
        _teach_vectors(self._connection)
        self._connection.execute(_TABLE)
        self._connection.execute("CREATE INDEX ON chunks (document)")
        self._connection.execute("CREATE TEMP TABLE staging (LIKE chunks) ON COMMIT DELETE ROWS")
        self._connection.commit()

    def put(self, rows: Sequence[Row], vectors: np.ndarray) -> None:
        """Upsert rows, each with its vector, in one transaction."""
        swapped = vectors.astype(">f4")
        with self._connection.cursor() as cursor:
            with cursor.copy("COPY staging FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(_TYPES)
                for row, vector in zip(rows, swapped, strict=True):
                    copy.write_row((*row, Vector(vector.tobytes())))
            cursor.execute(_UPSERT)
        self._connection.commit()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _teach_vectors(connection: psycopg.Connection[Any]) -> None:
    vector = TypeInfo.fetch(connection, "vector")
    assert vector is not None, "the database has no pgvector"
    kind = vector.oid

    class VectorDumper(Dumper):
        format = Format.BINARY
        oid = kind

        def dump(self, obj: Vector) -> bytes:
            return (len(obj) // 4).to_bytes(2, "big") + b"\0\0" + obj

    vector.register(connection)
    connection.adapters.register_dumper(Vector, VectorDumper)
