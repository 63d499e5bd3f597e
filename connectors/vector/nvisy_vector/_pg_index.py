"""Reads a collection in Postgres: by the HNSW index where it can answer, exactly where it cannot."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from nvisy.connector.sink import HeldHead, HeldRecord, Hit, Vector
from nvisy_vector._layout import HEAD, READABLE, heads_name, held_head, hit
from nvisy_vector._owner import Marker
from nvisy_vector._pg_database import translated
from nvisy_vector._pg_filter import POSTGRES
from nvisy_vector._screen import storable
from nvisy_vector._sql_filter import condition

if TYPE_CHECKING:
    from nvisy.expressions.filter import Filter
    from nvisy_vector._pg_database import Connection

PAGE_ROWS = 1_000
LARGEST_EF = 1_000
"""pgvector's limit for the candidates of one index scan; a larger `k` reads the table instead."""

_FIELDS = ", ".join(f'"{name}"' for name in READABLE)
_HEAD = ", ".join(f'"{name}"' for name in HEAD)
_FIRST_ID = UUID(int=0)
_OPERATORS = {"cosine": "<=>", "l2": "<->", "dot": "<#>"}
_SCORE: Mapping[str, Callable[[float], float]] = {
    "cosine": lambda distance: 1.0 - distance,
    "l2": lambda distance: -distance,
    "dot": lambda distance: -distance,
}


class PgvectorIndex:
    """A collection as `nvisy search` and `nvisy records` read it."""

    keeps_vectors = True

    def __init__(
        self, connection: Connection, marker: Marker, place: str, where: str, *, is_shared: bool
    ) -> None:
        self.is_shared = is_shared
        self.collection = marker.collection_id
        self.log = marker.owner.log
        self.model = marker.owner.model
        self.dimensions = marker.owner.dimensions
        self._connection = connection
        self._place = place
        self._where = where
        self._table = marker.physical
        self._distance = marker.distance

    def search(self, vector: Vector, k: int, where: Filter | None) -> Sequence[Hit]:
        """The `k` nearest records: see `nvisy.connector.sink.Index`.

        An index scan that runs out before it has `k` (a filter that leaves few) is repeated as an exact one.
        """
        only = condition(where, POSTGRES)
        query = (
            f'SELECT embedding {_OPERATORS[self._distance]} %s::vector AS distance, {_FIELDS} FROM "{self._table}" '
            f"WHERE embedding IS NOT NULL AND {only.text} ORDER BY distance LIMIT %s"
        )
        values = [str(vector.tolist()), *only.values, k]
        with translated(self._place, self._where):
            rows = self._rows(query, values, k, exact=False) if k <= LARGEST_EF else []
            if len(rows) < k:
                rows = self._rows(query, values, k, exact=True)
        return sorted(
            (self._hit(row[1:], row[0]) for row in rows), key=lambda found: (-(found.score or 0.0), found.id)
        )

    def records(self, key: str | None) -> Iterator[Hit]:
        """All records, or those of one document: see `nvisy.connector.sink.Index`."""
        only = "" if key is None else "AND key = %s"
        order = 'key COLLATE "C", coalesce(span_start, 0), id'
        query = (
            f'SELECT {_FIELDS} FROM "{self._table}" WHERE key COLLATE "C" >= %s {only} '
            f"AND ({order}) > (%s, %s, %s) ORDER BY {order} LIMIT {PAGE_ROWS}"
        )
        place = ("" if key is None else key, -1, "00000000-0000-0000-0000-000000000000")
        while True:
            values = (place[0], *([] if key is None else [key]), *place)
            with translated(self._place, self._where):
                page = [self._hit(row, None) for row in self._connection.execute(query, values)]
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = page[-1]
            place = (last.key, last.span.start if last.span else 0, last.id)

    def record(self, record_id: str) -> Hit | None:
        """The record of that id: see `nvisy.connector.sink.Index`."""
        try:
            value = UUID(record_id)
        except ValueError:
            return None
        query = f'SELECT {_FIELDS} FROM "{self._table}" WHERE id = %s'
        with translated(self._place, self._where):
            row = self._connection.execute(query, (value,)).fetchone()
        return None if row is None else self._hit(row, None)

    def held(self, keys: Collection[str] | None = None) -> Iterator[HeldRecord]:
        """All records with their vectors: see `nvisy.connector.sink.Index`."""
        pages = self._pages(self._table, ("id",), (_FIRST_ID,), f"embedding, {_FIELDS}", keys)
        for row in pages:
            vector = None if row[0] is None else np.frombuffer(row[0][4:], ">f4").astype(np.float32)
            yield HeldRecord(self._hit(row[1:], None), vector)

    def heads(self, keys: Collection[str] | None = None) -> Iterator[HeldHead]:
        """The heads: see `nvisy.connector.sink.Index`."""
        return map(held_head, self._pages(heads_name(self._table), ("key", "lane"), ("", ""), _HEAD, keys))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _rows(self, query: str, values: Sequence[Any], k: int, *, exact: bool) -> list[tuple[Any, ...]]:
        with self._connection.transaction():
            if exact:
                self._connection.execute("SET LOCAL enable_indexscan = off")
            else:
                candidates = min(LARGEST_EF, max(100, 2 * k))
                self._connection.execute(f"SET LOCAL hnsw.ef_search = {candidates}")
                self._connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
            return self._connection.execute(query, values).fetchall()

    def _pages(
        self,
        table: str,
        place: tuple[str, ...],
        first: tuple[Any, ...],
        fields: str,
        keys: Collection[str] | None,
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a table by an index of it, a page at a time; or those of some keys. Vectors come in binary."""
        if keys is not None:
            query = f'SELECT {fields} FROM "{table}" WHERE key = ANY(%s)'
            yield from self._binary(query, ([key for key in keys if storable(key, nul=False)],))
            return
        names = ", ".join(place)
        marks = ", ".join("%s" for _ in place)
        only = f"WHERE ({names}) > ({marks}) ORDER BY {names} LIMIT {PAGE_ROWS}"
        query = f'SELECT {names}, {fields} FROM "{table}" {only}'
        while True:
            rows = self._binary(query, first)
            yield from (row[len(place) :] for row in rows)
            if len(rows) < PAGE_ROWS:
                return
            first = rows[-1][: len(place)]

    def _binary(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with translated(self._place, self._where), self._connection.cursor(binary=True) as cursor:
            return cursor.execute(query, values).fetchall()

    def _hit(self, row: Sequence[Any], distance: float | None) -> Hit:
        fields = dict(zip(READABLE, row, strict=True))
        seen = fields["observed_at"]
        if isinstance(seen, datetime):
            fields["observed_at"] = f"{seen.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
        if distance is None:
            return hit(fields, None)
        return hit(fields, 0.0 if math.isnan(distance) else _SCORE[self._distance](distance))
