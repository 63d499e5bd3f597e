"""Reads a collection in an SQLite file: an exact search over all records, or those that match a filter."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from nvisy.connector.sink import HeldHead, HeldRecord, Hit, Vector
from nvisy_vector._layout import HEAD, READABLE, heads_name, held_head, hit
from nvisy_vector._owner import Marker
from nvisy_vector._sql_filter import condition
from nvisy_vector._sqlite_file import translated
from nvisy_vector._sqlite_filter import SQLITE

if TYPE_CHECKING:
    import apsw

    from nvisy.expressions.filter import Filter

PAGE_ROWS = 1_000
"""Rows of a listing read at once: between two pages no read lock is held, so a writer can tidy up its log."""

_FIELDS = ", ".join(f'"{name}"' for name in READABLE)
_HEAD = ", ".join(f'"{name}"' for name in HEAD)
_DISTANCE = {
    "cosine": "ifnull(vec_distance_cosine(embedding, ?), 1.0)",
    "l2": "vec_distance_L2(embedding, ?)",
    "dot": "-nvisy_dot(embedding, ?)",
}
_SCORE: Mapping[str, Callable[[float], float]] = {
    "cosine": lambda distance: 1.0 - distance,
    "l2": lambda distance: -distance,
    "dot": lambda distance: -distance,
}


class SqliteIndex:
    """A collection as `nvisy search` and `nvisy records` read it; other processes may write meanwhile."""

    keeps_vectors = True

    def __init__(
        self, connection: apsw.Connection, path: Path, marker: Marker, where: str, *, is_shared: bool
    ) -> None:
        self.is_shared = is_shared
        self.collection = marker.collection_id
        self.log = marker.owner.log
        self.model = marker.owner.model
        self.dimensions = marker.owner.dimensions
        self._connection = connection
        self._path = path
        self._where = where
        self._table = marker.physical
        self._distance = marker.distance
        connection.create_scalar_function("nvisy_dot", _dot, 2, deterministic=True)  # type: ignore[arg-type]

    def search(self, vector: Vector, k: int, where: Filter | None) -> Sequence[Hit]:
        """The `k` nearest records: see `nvisy.connector.sink.Index`."""
        only = condition(where, SQLITE)
        nearest = (
            f'SELECT id, {_DISTANCE[self._distance]} AS distance FROM "{self._table}" '
            f"WHERE embedding IS NOT NULL AND {only.text} ORDER BY distance LIMIT ?"
        )
        found = f'({nearest}) JOIN "{self._table}" USING (id)'
        query = f"SELECT distance, {_FIELDS} FROM {found} ORDER BY distance, id"
        needle = vector.astype("<f4", copy=False).tobytes()
        with translated(self._path, self._where):
            rows: list[Any] = self._connection.execute(query, (needle, *only.values, k)).fetchall()
        score = _SCORE[self._distance]
        return [_hit(row[1:], score(row[0])) for row in rows]

    def records(self, key: str | None) -> Iterator[Hit]:
        """All records, or those of one document: see `nvisy.connector.sink.Index`."""
        place = ("" if key is None else key, -1, "")
        only = "" if key is None else "AND key = ?"
        order = "key, ifnull(span_start, 0), id"
        query = (
            f'SELECT {_FIELDS} FROM "{self._table}" WHERE key >= ? {only} AND ({order}) > (?, ?, ?) '
            f"ORDER BY {order} LIMIT {PAGE_ROWS}"
        )
        while True:
            arguments = (place[0], *([] if key is None else [key]), *place)
            with translated(self._path, self._where):
                page = [_hit(row, None) for row in self._connection.execute(query, arguments)]
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = page[-1]
            place = (last.key, last.span.start if last.span else 0, last.id)

    def record(self, record_id: str) -> Hit | None:
        """The record of that id: see `nvisy.connector.sink.Index`."""
        query = f'SELECT {_FIELDS} FROM "{self._table}" WHERE id = ?'
        with translated(self._path, self._where):
            row = self._connection.execute(query, (record_id,)).fetchone()
        return None if row is None else _hit(row, None)

    def held(self, keys: Collection[str] | None = None) -> Iterator[HeldRecord]:
        """All records with their vectors: see `nvisy.connector.sink.Index`."""
        place = "id" if self.is_shared else "rowid"  # a table of the user's own may have no rowid
        fields = f"embedding, {_FIELDS}"
        for row in self._pages(self._table, place, fields, keys):
            vector = None if row[0] is None else np.frombuffer(row[0], "<f4")
            yield HeldRecord(_hit(row[1:], None), vector)

    def heads(self, keys: Collection[str] | None = None) -> Iterator[HeldHead]:
        """The heads: see `nvisy.connector.sink.Index`."""
        return map(held_head, self._pages(heads_name(self._table), "rowid", _HEAD, keys))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _pages(
        self, table: str, place: str, fields: str, keys: Collection[str] | None
    ) -> Iterator[tuple[Any, ...]]:
        """Rows of a table by a place that stays, a page at a time; or those of some keys."""
        if keys is not None:
            query = f'SELECT {fields} FROM "{table}" WHERE key IN (SELECT value FROM json_each(?))'
            with translated(self._path, self._where):
                rows = self._connection.execute(query, (orjson.dumps(list(keys)).decode(),)).fetchall()
            yield from rows
            return
        query = (
            f'SELECT {place}, {fields} FROM "{table}" WHERE {place} > ? ORDER BY {place} LIMIT {PAGE_ROWS}'
        )
        last: Any = "" if place == "id" else -1
        while True:
            with translated(self._path, self._where):
                rows = self._connection.execute(query, (last,)).fetchall()
            yield from (row[1:] for row in rows)
            if len(rows) < PAGE_ROWS:
                return
            last = rows[-1][0]


def _hit(row: Sequence[Any], score: float | None) -> Hit:
    fields = dict(zip(READABLE, row, strict=True))
    fields["metadata"] = orjson.loads(fields["metadata"] or "{}")
    return hit(fields, score)


def _dot(left: bytes, right: bytes) -> float:
    return float(np.dot(np.frombuffer(left, "<f4"), np.frombuffer(right, "<f4")))
