"""Reads a collection in Qdrant: by its filters where it has them, by looking at all records where it has not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from qdrant_client import QdrantClient, models

from nvisy.connector.sink import HeldHead, HeldRecord, Hit, Vector
from nvisy.expressions.filter import Filter, matches
from nvisy_vector import _qdrant_server as server
from nvisy_vector._layout import HEAD, READABLE, heads_name, held_head, hit
from nvisy_vector._owner import Marker
from nvisy_vector._qdrant_filter import translate

EXACT_FROM_K = 1_000
"""With so many wanted, walking the graph of the HNSW index costs more than reading all, and misses some."""

PAGE_POINTS = 1_000
KEYS_AT_ONCE = 100


class QdrantIndex:
    """A collection as `nvisy search` and `nvisy records` read it."""

    def __init__(
        self, client: QdrantClient, marker: Marker, place: str, where: str, *, is_shared: bool
    ) -> None:
        self.is_shared = is_shared
        self.collection = marker.collection_id
        self.log = marker.owner.log
        self.keeps_vectors = marker.distance != "cosine"
        self.model = marker.owner.model
        self.dimensions = marker.owner.dimensions
        self._client = client
        self._physical = marker.physical
        self._sign = -1.0 if marker.distance == "l2" else 1.0
        self._place = place
        self._where = where

    def search(self, vector: Vector, k: int, where: Filter | None) -> Sequence[Hit]:
        """The `k` nearest records: see `nvisy.connector.sink.Index`."""
        native = translate(where) if where is not None else models.Filter()
        if where is None or native is not None:
            hits = self._nearest(vector, k, 0, native, exact=k >= EXACT_FROM_K)
        else:
            hits = self._scan(vector, k, where)
        return sorted(hits, key=lambda found: (-(found.score or 0.0), found.id))

    def records(self, key: str | None) -> Iterator[Hit]:
        """All records, or those of one document: see `nvisy.connector.sink.Index`.

        Qdrant lists by id. So the keys are listed first, and then the records, some documents at a time.
        """
        keys = [key] if key is not None else sorted(self._keys())
        for start in range(0, len(keys), KEYS_AT_ONCE):
            (where,) = _filters(keys[start : start + KEYS_AT_ONCE])
            hits = [_hit(str(point.id), point.payload, None) for point in self._scroll(where, payload=True)]
            yield from sorted(
                hits, key=lambda found: (found.key, found.span.start if found.span else 0, found.id)
            )

    def record(self, record_id: str) -> Hit | None:
        """The record of that id: see `nvisy.connector.sink.Index`."""
        try:
            UUID(record_id)
        except ValueError:
            return None
        with server.translated(self._place, self._where):
            points = self._client.retrieve(self._physical, [record_id], with_payload=True)
        return _hit(str(points[0].id), points[0].payload, None) if points else None

    def held(self, keys: Collection[str] | None = None) -> Iterator[HeldRecord]:
        """All records with their vectors: see `nvisy.connector.sink.Index`."""
        for where in _filters(keys):
            for point in self._scroll(where, payload=True, vectors=True):
                vector = np.asarray(point.vector, np.float32) if isinstance(point.vector, list) else None
                yield HeldRecord(_hit(str(point.id), point.payload, None), vector)

    def heads(self, keys: Collection[str] | None = None) -> Iterator[HeldHead]:
        """The heads: see `nvisy.connector.sink.Index`."""
        for where in _filters(keys):
            for point in self._scroll(where, payload=True, of=heads_name(self._physical)):
                payload = point.payload or {}
                if "ids" in payload:  # the marker lies among them
                    yield held_head([payload.get(name) for name in HEAD])

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _nearest(
        self, vector: Vector, k: int, offset: int, where: models.Filter | None, *, exact: bool
    ) -> list[Hit]:
        with server.translated(self._place, self._where):
            found = self._client.query_points(
                self._physical,
                query=vector.tolist(),
                query_filter=where,
                limit=k,
                offset=offset,
                search_params=models.SearchParams(exact=exact),
                with_payload=True,
            )
        return [_hit(str(point.id), point.payload, self._sign * point.score) for point in found.points]

    def _scan(self, vector: Vector, k: int, where: Filter) -> list[Hit]:
        """All records from the nearest on, until `k` of them match."""
        found: list[Hit] = []
        for offset in range(0, 2**31, PAGE_POINTS):
            page = self._nearest(vector, PAGE_POINTS, offset, None, exact=True)
            found += (hit for hit in page if matches(where, _fields(hit)))
            if len(found) >= k or len(page) < PAGE_POINTS:
                break
        return found[:k]

    def _keys(self) -> set[str]:
        return {(point.payload or {}).get("key") or "" for point in self._scroll(None, payload=["key"])}

    def _scroll(
        self,
        where: models.Filter | None,
        payload: bool | list[str],
        *,
        vectors: bool = False,
        of: str = "",
    ) -> Iterator[models.Record]:
        """The points of the collection, or of one beside it, by id."""
        offset = None
        while True:
            with server.translated(self._place, self._where):
                page, offset = self._client.scroll(
                    of or self._physical,
                    scroll_filter=where,
                    limit=PAGE_POINTS,
                    offset=offset,
                    with_payload=payload,
                    with_vectors=vectors,
                )
            yield from page
            if offset is None:
                return


def _filters(keys: Collection[str] | None) -> Iterator[models.Filter | None]:
    """A filter for some keys each, or one that lets everything through."""
    if keys is None:
        yield None
        return
    names = list(keys)
    for start in range(0, len(names), KEYS_AT_ONCE):
        match = models.MatchAny(any=names[start : start + KEYS_AT_ONCE])
        yield models.Filter(must=[models.FieldCondition(key="key", match=match)])


def _hit(point: str, payload: Mapping[str, Any] | None, score: float | None) -> Hit:
    return hit({name: (payload or {}).get(name) for name in READABLE} | {"id": point}, score)


def _fields(found: Hit) -> Mapping[str, Any]:
    return {"key": found.key, "source_uri": found.source_uri, "metadata": found.metadata}
