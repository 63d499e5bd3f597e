"""The graphs of the matrix, and the functions in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STEPS = '''"""The functions of the graph under test."""

from collections.abc import Iterator

from nvisy.primitives import Chunk, Document, Span


def split(document: Document) -> Iterator[Chunk]:
    text = (document.content or b"").decode()
    if text.startswith("BAD"):
        raise ValueError("this document is bad")
    start = 0
    for part in text.split("\\n\\n"):
        if part.strip():
            yield Chunk(text=part, span=Span(start, start + len(part)), metadata={"length": len(part)})
        start += len(part) + 2


def shout(chunk: Chunk) -> Chunk:
    return Chunk(text=chunk.text.upper(), span=chunk.span, metadata=chunk.metadata)
'''


def graph(shape: str, name: str, sink: Mapping[str, Any], model_url: str, **extra: Any) -> dict[str, Any]:
    """A graph of this shape.

    `chain`: files, split, embed, index. `branch`: passages about rivers are shouted, the others not, and both are
    embedded. `fanout`: all passages go to `index`, those about clouds not to `other`.

    Args:
        shape: Which one.
        name: Name of the graph.
        sink: `provider` and `params` of its sinks, the collection left out.
        model_url: `baseUrl` of the model.
        extra: More top-level fields.
    """
    nodes, edges = _SHAPES[shape]
    ready = [_node(node, sink) for node in ("files", "split", *nodes)]
    return {
        "name": name,
        "connections": {"model": {"provider": "openai", "params": {"baseUrl": model_url}}},
        "nodes": ready,
        "edges": [_edge(way) for way in ("files>split", *edges)],
        **extra,
    }


_SHAPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "chain": (("embed", "index"), ("split>embed", "embed>index")),
    "branch": (
        ("route", "shout", "join", "embed", "index"),
        ("split>route", "route:loud>shout", "shout>join", "route:plain>join", "join>embed", "embed>index"),
    ),
    "fanout": (
        ("fan", "embed", "brief", "embed2", "index", "other"),
        ("split>fan", "fan>embed", "embed>index", "fan>brief", "brief>embed2", "embed2>other"),
    ),
}


def _node(node: str, sink: Mapping[str, Any]) -> dict[str, Any]:  # noqa: PLR0911 - one for each kind
    match node:
        case "files":
            params = {"path": "docs", "pollSeconds": 0.1}
            return {"id": node, "type": "source", "provider": "object/files", "params": params}
        case "split" | "shout":
            return {"id": node, "type": "action", "action": "python", "params": {"function": f"steps:{node}"}}
        case "brief":
            params = {"when": "!text.contains('cloud')"}
            return {"id": node, "type": "action", "action": "filter", "params": params}
        case "embed" | "embed2":
            return _embed(node)
        case "route":
            params = {"routes": [{"port": "loud", "when": "text.contains('river')"}], "default": "plain"}
            return {"id": node, "type": "branch", "params": params}
        case "fan":
            return {"id": node, "type": "fanout"}
        case "join":
            return {"id": node, "type": "fanin"}
        case _:
            params = {**sink["params"], "collection": node}
            return {"id": node, "type": "sink", "provider": sink["provider"], "params": params}


def _embed(node: str) -> dict[str, Any]:
    return {
        "id": node,
        "type": "action",
        "action": "embed",
        "params": {"model": f"openai/{node}", "dimensions": 8, "batchSize": 16},
        "connection": "model",
        "retry": {"initialDelayMs": 50, "maxDelayMs": 500},
    }


def _edge(way: str) -> dict[str, Any]:
    arrow, _, to = way.partition(">")
    origin, _, port = arrow.partition(":")
    return {"from": origin, "to": to, **({"port": port} if port else {})}
