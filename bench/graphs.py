"""The graphs of the workloads, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

CHUNK_SIZE = 500
"""The longest chunk, in characters: those of the documents here come out at about 300."""

DIMENSIONS = 256

Node = dict[str, Any]


def files(path: Path) -> Node:
    """The source: the records of JSON Lines files."""
    return {
        "id": "files",
        "type": "source",
        "provider": "object/files",
        "params": {"path": str(path), "format": "jsonl"},
    }


def steps(model: str = "local/hash", **embed: Any) -> list[Node]:
    """Chunks and their vectors."""
    return [
        {"id": "chunk", "type": "action", "action": "chunk", "params": {"size": CHUNK_SIZE}},
        {
            "id": "embed",
            "type": "action",
            "action": "embed",
            "params": {"model": model, "dimensions": DIMENSIONS, **embed},
        },
    ]


def remote_steps(batch: int, dimensions: int) -> list[Node]:
    """Chunks, and their vectors from a model behind an API."""
    chunk, embed = steps("openai/bench", batchSize=batch, cache=False)
    params = {**embed["params"], "dimensions": dimensions}
    return [chunk, {**embed, "params": params, "connection": "model"}]


def model_at(url: str, **limits: int) -> dict[str, Any]:
    """The connection to it."""
    params = {"baseUrl": url, "apiKey": "none"}
    return {"model": {"provider": "openai", "params": params, "limits": limits}}


def pgvector(dsn: str) -> Node:
    """A collection without a vector index: building one takes the same time for everybody, and most of it."""
    return {
        "id": "index",
        "type": "sink",
        "provider": "vector/pgvector",
        "params": {"dsn": dsn, "collection": "docs", "index": "none"},
    }


def counting() -> Node:
    """A sink that only counts."""
    return {"id": "index", "type": "sink", "provider": "bench/count"}


def write(
    folder: Path,
    name: str,
    nodes: Sequence[Node],
    *,
    topics: Mapping[str, bool] | bool = True,
    **fields: Any,
) -> None:
    """Write the chain of `nodes` to `graph.json`; `topics` says for which nodes one may follow, or for all."""

    def edge(origin: str, to: str) -> dict[str, Any]:
        kept = topics if isinstance(topics, bool) else topics.get(origin, True)
        return {"from": origin, "to": to} | ({} if kept else {"topic": False})

    names = [node["id"] for node in nodes]
    edges = [edge(origin, to) for origin, to in pairwise(names)]
    graph = {"name": name, "nodes": list(nodes), "edges": edges, **fields}
    (folder / "graph.json").write_text(json.dumps(graph))
