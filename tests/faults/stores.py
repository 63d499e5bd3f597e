"""What the sinks hold, asked of the stores themselves."""

from __future__ import annotations

import json
import math
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import httpx

from tests.faults.oracle import Entries, Entry, vector_of

Row = tuple[str, str, int, int, Any, Sequence[float]]
"""key, text, start, end, metadata, vector"""
_FIELDS = "key, text, span_start, span_end, metadata, embedding"


class Store(Protocol):
    """A store that sinks write into; its reading shares no code with the product."""

    kind: str
    seen_as: str
    """Where the sink is told that it is: something may stand in between."""

    def sink(self) -> Mapping[str, Any]:
        """`provider` and `params` of a sink, the collection left out."""

    def rows(self, collection: str) -> Iterable[Row]:
        """Everything in a collection; nothing where it is not there yet."""

    def close(self) -> None:
        """Let go of everything."""


def held(store: Store, collection: str) -> dict[str, Entries]:
    """What a collection holds, by key. A record whose vector is not that of its text says so in its text."""
    found: dict[str, Entries] = {}
    for key, text, start, end, metadata, vector in store.rows(collection):
        right = all(math.isclose(a, b, abs_tol=1e-5) for a, b in zip(vector, vector_of(text), strict=True))
        said = text if right else f"(another text's vector) {text}"
        found.setdefault(key, Counter())[Entry(said, start, end, metadata.get("length", -1))] += 1
    return found


class SqliteStore:
    """Collections in a file."""

    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen_as = str(path)

    def sink(self) -> Mapping[str, Any]:
        return {"provider": "vector/sqlite", "params": {"path": self.seen_as}}

    def rows(self, collection: str) -> Iterable[Row]:
        if not self.path.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as connection:
                found = connection.execute(f'SELECT {_FIELDS} FROM "{collection}"').fetchall()
        except sqlite3.OperationalError:  # it is being made
            return []
        return [
            (*row[:4], json.loads(row[4]), struct.unpack(f"<{len(row[5]) // 4}f", row[5])) for row in found
        ]

    def close(self) -> None:
        """Nothing is held."""


class PostgresStore:
    """Collections in a database."""

    kind = "pgvector"

    def __init__(self, dsn: str) -> None:
        self.dsn = self.seen_as = dsn

    def sink(self) -> Mapping[str, Any]:
        return {"provider": "vector/pgvector", "params": {"dsn": self.seen_as}}

    def rows(self, collection: str) -> Iterable[Row]:
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            if connection.execute("SELECT to_regclass(%s)", (f'"{collection}"',)).fetchone() == (None,):
                return []
            query = f'SELECT {_FIELDS.replace("embedding", "embedding::text")} FROM "{collection}"'
            return [(*row[:5], json.loads(row[5])) for row in connection.execute(query)]

    def cut(self) -> None:
        """End every connection to the database but our own."""
        import psycopg

        others = "datname = current_database() AND pid <> pg_backend_pid()"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")

    def close(self) -> None:
        """Nothing is held."""


class QdrantStore:
    """Collections of a Qdrant server."""

    kind = "qdrant"

    def __init__(self, url: str) -> None:
        self.url = self.seen_as = url
        self._client = httpx.Client(base_url=url, timeout=10)

    def sink(self) -> Mapping[str, Any]:
        return {"provider": "vector/qdrant", "params": {"url": self.seen_as}}

    def rows(self, collection: str) -> Iterable[Row]:
        found: list[Row] = []
        place: str | None = None
        while True:
            body = {"limit": 1000, "with_payload": True, "with_vector": True, "offset": place}
            answer = self._client.post(f"/collections/{collection}/points/scroll", json=body)
            if answer.status_code == 404:
                return []
            result = answer.raise_for_status().json()["result"]
            found += [_point(point) for point in result["points"]]
            place = result["next_page_offset"]
            if place is None:
                return found

    def close(self) -> None:
        self._client.close()


def _point(point: Mapping[str, Any]) -> Row:
    p = point["payload"]
    return p["key"], p["text"], p["span_start"], p["span_end"], p["metadata"], point["vector"]
