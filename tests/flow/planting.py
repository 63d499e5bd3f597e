"""Damage done to an index behind the back of its writer: one thing at a time, with the store's own client."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import apsw
import numpy as np
import orjson
import psycopg
from qdrant_client import QdrantClient, models

PLANTS = (
    "a deleted record",
    "an extra record",
    "an extra document",
    "a record of nobody's",
    "a flipped vector",
    "a changed text",
    "changed metadata",
    "another configuration",
    "a wrong hash in a head",
    "a stale version",
    "a version of the future",
)


class Planted(NamedTuple):
    """What `verify` has to say of a plant: these kinds and ids, and nothing else."""

    findings: frozenset[tuple[str, str]]


class Rows(Protocol):
    """A collection, as its store's own client sees it."""

    def some(self) -> Mapping[str, Any]:
        """A record in the middle of the collection."""

    def put(self, row: Mapping[str, Any]) -> None:
        """Write a record, whole."""

    def delete(self, record_id: str) -> None:
        """Take a record out."""

    def head(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Version and ids of the head of a record's key."""

    def put_head(self, row: Mapping[str, Any], **fields: Any) -> None:
        """Change fields of it."""


def plant(rows: Rows, what: str) -> Planted:  # noqa: PLR0911 - one for each
    """Do a damage."""
    row = dict(rows.some())
    name, other = str(row["id"]), str(uuid.uuid4())
    match what:
        case "a deleted record":
            rows.delete(name)
            return found(("missing", name))
        case "an extra record":
            rows.put({**row, "id": other})
            return found(("extra", other))
        case "an extra document":
            rows.put({**row, "id": other, "key": "never-was.md"})
            return found(("extra", other))
        case "a record of nobody's":
            rows.put({**row, "id": other, "lane": "0123456789abcdef"})
            return found(("extra", other))
        case "a flipped vector":
            rows.put({**row, "embedding": -row["embedding"]})
        case "a changed text":
            rows.put({**row, "text": row["text"] + " not"})
        case "changed metadata":
            rows.put({**row, "metadata": {**row["metadata"], "planted": 1}})
        case "another configuration":
            rows.put({**row, "steps": row["steps"].replace("@", "@f", 1)})
        case "a wrong hash in a head":
            ids = {one: list(hashes) for one, hashes in rows.head(row)["ids"].items()}
            ids[name][1] = "0" * 32
            rows.put_head(row, ids=orjson.dumps(ids).decode())
            return found(("damaged", ""))
        case "a stale version":
            rows.put_head(row, version=rows.head(row)["version"] - (1 << 36))
            rows.put({**row, "version": row["version"] - (1 << 36), "text": "as it was before"})
            return found(("stale", name))
        case "a version of the future":
            rows.put_head(row, version=rows.head(row)["version"] + (1 << 36))
            return found(("damaged", ""))
        case _:
            raise ValueError(f"nobody knows how to plant {what!r}")
    return found(("damaged", name))


def found(*findings: tuple[str, str]) -> Planted:
    """Exactly these."""
    return Planted(frozenset(findings))


_FIELDS = (
    "id, embedding, text, key, source_uri, span_start, span_end, metadata, lane, source, version, content_hash, steps,"
    " model, run, observed_at, topic, partition"
)


class SqliteRows:
    """In a file."""

    def __init__(self, path: Path, collection: str) -> None:
        self._path = path
        self._table = f"{collection}__1"

    def some(self) -> Mapping[str, Any]:
        count = self._run(f'SELECT count(*) FROM "{self._table}"')[0][0]
        query = f'SELECT {_FIELDS} FROM "{self._table}" ORDER BY id LIMIT 1 OFFSET {count // 2}'
        row = dict(zip(_FIELDS.split(", "), self._run(query)[0], strict=True))
        return {
            **row,
            "embedding": np.frombuffer(row["embedding"], "<f4"),
            "metadata": orjson.loads(row["metadata"]),
        }

    def put(self, row: Mapping[str, Any]) -> None:
        written = {
            **row,
            "embedding": row["embedding"].astype("<f4").tobytes(),
            "metadata": orjson.dumps(row["metadata"]).decode(),
        }
        names, marks = ", ".join(written), ", ".join("?" for _ in written)
        query = f'INSERT OR REPLACE INTO "{self._table}" ({names}) VALUES ({marks})'
        self._run(query, tuple(written.values()))

    def delete(self, record_id: str) -> None:
        self._run(f'DELETE FROM "{self._table}" WHERE id = ?', (record_id,))

    def head(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        query = f'SELECT version, ids FROM "{self._table}__heads" WHERE key = ? AND lane = ?'
        version, ids = self._run(query, (row["key"], row["lane"]))[0]
        return {"version": version, "ids": orjson.loads(ids)}

    def put_head(self, row: Mapping[str, Any], **fields: Any) -> None:
        sets = ", ".join(f"{name} = ?" for name in fields)
        query = f'UPDATE "{self._table}__heads" SET {sets} WHERE key = ? AND lane = ?'
        self._run(query, (*fields.values(), row["key"], row["lane"]))

    def _run(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with closing(apsw.Connection(str(self._path))) as connection:
            connection.set_busy_timeout(10_000)
            return connection.execute(query, values).fetchall()


class PostgresRows:
    """In a database."""

    def __init__(self, dsn: str, collection: str) -> None:
        self._dsn = dsn
        self._table = f"{collection}__1"

    def some(self) -> Mapping[str, Any]:
        count = self._run(f'SELECT count(*) FROM "{self._table}"')[0][0]
        fields = _FIELDS.replace("embedding", "embedding::real[]")
        query = f'SELECT {fields} FROM "{self._table}" ORDER BY id LIMIT 1 OFFSET {count // 2}'
        row = dict(zip(_FIELDS.split(", "), self._run(query)[0], strict=True))
        return {**row, "embedding": np.array(row["embedding"], np.float32)}

    def put(self, row: Mapping[str, Any]) -> None:
        written = {
            **row,
            "embedding": str(row["embedding"].tolist()),
            "metadata": orjson.dumps(row["metadata"]).decode(),
        }
        names, marks = ", ".join(written), ", ".join("%s" for _ in written)
        sets = ", ".join(f"{name} = excluded.{name}" for name in written)
        query = (
            f'INSERT INTO "{self._table}" ({names}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {sets}'
        )
        self._run(query, tuple(written.values()))

    def delete(self, record_id: str) -> None:
        self._run(f'DELETE FROM "{self._table}" WHERE id = %s', (record_id,))

    def head(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        query = f'SELECT version, ids FROM "{self._table}__heads" WHERE key = %s AND lane = %s'
        version, ids = self._run(query, (row["key"], row["lane"]))[0]
        return {"version": version, "ids": orjson.loads(ids)}

    def put_head(self, row: Mapping[str, Any], **fields: Any) -> None:
        sets = ", ".join(f"{name} = %s" for name in fields)
        query = f'UPDATE "{self._table}__heads" SET {sets} WHERE key = %s AND lane = %s'
        self._run(query, (*fields.values(), row["key"], row["lane"]))

    def _run(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []


class QdrantRows:
    """In a Qdrant server."""

    def __init__(self, url: str, collection: str) -> None:
        self._client = QdrantClient(url=url, check_compatibility=False)
        self._name = f"{collection}__1"

    def some(self) -> Mapping[str, Any]:
        points, _ = self._client.scroll(self._name, limit=10_000, with_payload=True, with_vectors=True)
        point = points[len(points) // 2]
        return {**(point.payload or {}), "id": point.id, "embedding": np.array(point.vector, np.float32)}

    def put(self, row: Mapping[str, Any]) -> None:
        payload = {name: value for name, value in row.items() if name not in {"id", "embedding"}}
        point = models.PointStruct(id=row["id"], vector=row["embedding"].tolist(), payload=payload)
        self._client.batch_update_points(
            self._name, [models.UpsertOperation(upsert=models.PointsList(points=[point]))], wait=True
        )

    def delete(self, record_id: str) -> None:
        which = models.Filter(must=[models.HasIdCondition(has_id=[record_id])])
        delete = models.DeleteOperation(delete=models.FilterSelector(filter=which))
        self._client.batch_update_points(self._name, [delete], wait=True)

    def head(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        payload = self._head(row).payload or {}
        return {"version": payload["version"], "ids": orjson.loads(payload["ids"])}

    def put_head(self, row: Mapping[str, Any], **fields: Any) -> None:
        these = models.Filter(must=[models.HasIdCondition(has_id=[self._head(row).id])])
        change = models.SetPayloadOperation(set_payload=models.SetPayload(payload=fields, filter=these))
        self._client.batch_update_points(f"{self._name}__heads", [change], wait=True)

    def _head(self, row: Mapping[str, Any]) -> models.Record:
        points, _ = self._client.scroll(f"{self._name}__heads", limit=10_000, with_payload=True)
        wanted = (row["key"], row["lane"])
        return next(
            point
            for point in points
            if ((point.payload or {}).get("key"), (point.payload or {}).get("lane")) == wanted
        )
