"""Qdrant's HTTP API, as far as `vector/qdrant` uses it, on top of Qdrant's own engine in this process.

Conditions, filters, scores and types are the engine's (`qdrant-edge-py`); collections, aliases, the fields of a
request and the status of an answer are translated here.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import numpy as np
import qdrant_edge as edge


class Refusal(Exception):  # noqa: N818 - an answer, not a failure
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Collection:
    """One shard, and what it was made with."""

    def __init__(self, folder: Path, vectors: dict[str, Any]) -> None:
        self.vectors = {"size": vectors["size"], "distance": vectors["distance"]}
        distance = getattr(edge.Distance, vectors["distance"])
        folder.mkdir()
        config = edge.EdgeConfig(vectors={"": edge.EdgeVectorParams(size=vectors["size"], distance=distance)})
        self.shard = edge.EdgeShard.create(str(folder), config)


class QdrantDouble:
    """A server on the loopback; `url` is where. `fail_next` makes the next write answer with that status."""

    def __init__(self, folder: Path, api_key: str = "", version: str = "1.17.0") -> None:
        self.folder = folder
        self.api_key = api_key
        self.version = version
        self.fail_next = 0
        self.collections: dict[str, Collection] = {}
        self.aliases: dict[str, str] = {}
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        for collection in self.collections.values():
            collection.shard.close()

    def answer(self, method: str, path: str, body: dict[str, Any]) -> Any:  # noqa: PLR0911, PLR0912 - one for each endpoint
        match method, *path.strip("/").split("/"):
            case "GET", "":
                return None
            case "GET", "aliases":
                return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in self.aliases.items()]}
            case "POST", "collections", "aliases":
                return self._alias(body)
            case "GET", "collections":
                return {"collections": [{"name": name} for name in self.collections]}
            case "GET", "collections", name, "exists":
                return {"exists": self.aliases.get(name, name) in self.collections}
            case "GET", "collections", name:
                return self._info(self._collection(name))
            case "PUT", "collections", name:
                return self._create(name, body)
            case "DELETE", "collections", name:
                self.aliases = {a: c for a, c in self.aliases.items() if c != name}
                return self.collections.pop(name, None) is not None
            case "PUT", "collections", name, "index":
                kind = getattr(edge.PayloadSchemaType, body["field_schema"].capitalize())
                return self._update(name, [edge.UpdateOperation.create_field_index(body["field_name"], kind)])
            case "PUT", "collections", name, "points":
                return self._update(name, [_upsert(body)])
            case "POST", "collections", name, "points", "payload":
                return self._update(name, [_set_payload(body)])
            case "POST", "collections", name, "points", "batch":
                return [self._update(name, [_operation(one)]) for one in body["operations"]]
            case "POST", "collections", name, "points":
                return [
                    _point(p)
                    for p in self._collection(name).shard.retrieve(
                        body["ids"], _selector(body.get("with_payload", True)), False
                    )
                ]
            case "POST", "collections", name, "points", "scroll":
                return self._scroll(self._collection(name), body)
            case "POST", "collections", name, "points", "query":
                return {"points": self._query(self._collection(name), body)}
            case "POST", "collections", name, "facet":
                return self._facet(self._collection(name), body)
        raise Refusal(404, f"{method} {path} is not in this double")

    def _collection(self, name: str) -> Collection:
        try:
            return self.collections[self.aliases.get(name, name)]
        except KeyError:
            raise Refusal(404, f"Not found: Collection `{name}` doesn't exist!") from None

    def _create(self, name: str, body: dict[str, Any]) -> bool:
        if name in self.collections:
            raise Refusal(409, f"Wrong input: Collection `{name}` already exists!")
        if name in self.aliases:
            raise Refusal(400, f"Wrong input: Alias `{name}` already exists")
        self.collections[name] = Collection(self.folder / uuid4().hex, body["vectors"])
        return True

    def _alias(self, body: dict[str, Any]) -> bool:
        for action in body["actions"]:
            if "delete_alias" in action:
                del self.aliases[action["delete_alias"]["alias_name"]]
                continue
            wanted = action["create_alias"]
            self._collection(wanted["collection_name"])
            if wanted["alias_name"] in self.collections:
                raise Refusal(400, f"Wrong input: Collection `{wanted['alias_name']}` already exists!")
            self.aliases[wanted["alias_name"]] = wanted["collection_name"]
        return True

    def _info(self, collection: Collection) -> dict[str, Any]:
        params = {"vectors": collection.vectors, "shard_number": 1, "replication_factor": 1}
        hnsw = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000}
        optimizer = {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        }
        return {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "points_count": collection.shard.count(edge.CountRequest()),
            "config": {"params": params, "hnsw_config": hnsw, "optimizer_config": optimizer},
            "payload_schema": {},
        }

    def _update(self, name: str, operations: list[edge.UpdateOperation]) -> dict[str, Any]:
        if self.fail_next:
            status, self.fail_next = self.fail_next, 0
            raise Refusal(status, "Service internal error: as the test asked")
        collection = self._collection(name)
        for operation in operations:
            try:
                collection.shard.update(operation)
            except Exception as error:
                raise Refusal(400, f"Wrong input: {error}") from error
        return {"operation_id": 1, "status": "completed"}

    def _scroll(self, collection: Collection, body: dict[str, Any]) -> dict[str, Any]:
        request = edge.ScrollRequest(
            limit=body["limit"],
            offset=body.get("offset"),
            filter=_filter(body.get("filter")),
            with_payload=_selector(body.get("with_payload", True)),
            with_vector=bool(body.get("with_vector")),
        )
        points, after = collection.shard.scroll(request)
        return {
            "points": [_point(p) for p in points],
            "next_page_offset": None if after is None else str(after),
        }

    def _facet(self, collection: Collection, body: dict[str, Any]) -> dict[str, Any]:
        request = edge.FacetRequest(body["key"], limit=body["limit"], exact=body["exact"])
        hits = collection.shard.facet(request).hits
        return {"hits": [{"value": hit.value, "count": hit.count} for hit in hits]}

    def _query(self, collection: Collection, body: dict[str, Any]) -> list[dict[str, Any]]:
        request = edge.QueryRequest(
            limit=body["limit"],
            offset=body.get("offset") or 0,
            query=edge.Query.Nearest(body["query"]["nearest"]),
            filter=_filter(body.get("filter")),
            params=edge.SearchParams(exact=bool((body.get("params") or {}).get("exact"))),
            with_payload=_selector(body.get("with_payload", True)),
        )
        found = collection.shard.query(request)
        return [{**_point(p), "score": p.score, "version": p.version} for p in found]


def _operation(body: dict[str, Any]) -> edge.UpdateOperation:
    if "upsert" in body:
        return _upsert(body["upsert"])
    if "set_payload" in body:
        return _set_payload(body["set_payload"])
    return edge.UpdateOperation.delete_points_by_filter(_filter(body["delete"]["filter"]))


def _upsert(body: dict[str, Any]) -> edge.UpdateOperation:
    points = [edge.Point(p["id"], p["vector"], p.get("payload") or {}) for p in body["points"]]
    return edge.UpdateOperation.upsert_points(points, condition=_filter(body.get("update_filter")))


def _set_payload(body: dict[str, Any]) -> edge.UpdateOperation:
    return edge.UpdateOperation.set_payload_by_filter(_filter(body["filter"]), body["payload"])


def _point(point: Any) -> dict[str, Any]:
    vector = getattr(point, "vector", None)
    given = {} if vector is None else {"vector": [float(number) for number in vector]}
    return {"id": str(point.id), "payload": point.payload, **given}


def _selector(wanted: Any) -> Any:
    return edge.PayloadSelector.Include(wanted) if isinstance(wanted, list) else wanted


def _filter(body: dict[str, Any] | None) -> edge.Filter | None:
    if not body:
        return None
    parts = {name: body[name] for name in ("must", "should", "must_not") if body.get(name) is not None}
    return edge.Filter(**{name: [_condition(one) for one in _listed(part)] for name, part in parts.items()})


def _condition(body: dict[str, Any]) -> Any:
    if "has_id" in body:
        return edge.HasIdCondition(set(body["has_id"]))
    if "is_null" in body:
        return edge.IsNullCondition(body["is_null"]["key"])
    if "key" not in body:
        return _filter(body)
    if body.get("range") is not None:
        return edge.FieldCondition(body["key"], range=edge.RangeFloat(**body["range"]))
    match = body["match"]
    if "any" in match:
        return edge.FieldCondition(body["key"], match=edge.MatchAny(match["any"]))
    value = match["value"]
    # the binding takes Python's bool for the integer that it also is, and NumPy's for what it is
    return edge.FieldCondition(
        body["key"], match=edge.MatchValue(np.bool_(value) if isinstance(value, bool) else value)
    )


def _listed(part: Any) -> list[Any]:
    return part if isinstance(part, list) else [part]


def _handler(double: QdrantDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            status, answer = self._answer(body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

        def _answer(self, body: dict[str, Any]) -> tuple[int, Any]:
            if double.api_key and self.headers.get("api-key") != double.api_key:
                return 401, {"status": {"error": "Must provide an API key or an Authorization bearer token"}}
            path = urlsplit(self.path).path
            if path == "/":
                return 200, {"title": "qdrant - vector search engine", "version": double.version}
            try:
                with double.lock:
                    result = double.answer(self.command, path, body)
            except Refusal as refusal:
                return refusal.status, {"status": {"error": str(refusal)}, "result": None, "time": 0.0}
            return 200, {"result": result, "status": "ok", "time": 0.0}

        def log_message(self, *_: Any) -> None:
            """A test's output is no place for an access log."""

    return Handler
