"""Hashes by which a graph, and the configuration of one of its nodes, are told from others.

Both are taken over what is written, with references unresolved: a secret leaves no trace, and changing it
changes no hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from nvisy.graph.model import ActionNode, BranchNode, Graph, Node, SinkNode, SourceNode

_NOTHING = object()
_WITHOUT_EFFECT = {"$schema", "description", "metadata"}


def graph_hash(graph: Graph) -> str:
    """What the graph does, as 32 hexadecimal digits: the same whatever the order of its nodes and edges.

    A description, metadata and fields written out with their defaults change nothing.
    """
    value = graph.model_dump(mode="json", by_alias=True)
    kept = {name: part for name, part in value.items() if name not in _WITHOUT_EFFECT}
    kept["nodes"] = sorted((_node_value(node) for node in graph.nodes), key=_canonical)
    kept["edges"] = sorted(kept["edges"], key=_canonical)
    return _digest(kept)[:32]


def config_hash(
    node: Node, params: BaseModel | None = None, models: Iterable[str] = (), revision: str = ""
) -> str:
    """What a node does to what passes, as 8 hexadecimal digits; part of every primitive's `steps`.

    Args:
        node: The node, as it is written.
        params: Its typed parameters. Those that have their default value count for nothing, written out or not, so
            that a parameter that a later version adds changes no hash.
        models: Models it uses, `name@revision`.
        revision: Of what decides beside its parameters what it does, such as a user's code; empty where nothing does.
    """
    written = dict(_node_value(node).get("params") or {})
    defaults = _defaults(params) if params is not None else {}
    written = {name: value for name, value in written.items() if defaults.get(name, _NOTHING) != value}
    kind = node.action if isinstance(node, ActionNode) else getattr(node, "provider", node.type)
    decisive = {"kind": kind, "params": written, "models": sorted(models)}
    return _digest(decisive | ({"revision": revision} if revision else {}))[:8]


def _node_value(node: Node) -> dict[str, Any]:
    if isinstance(node, SourceNode | ActionNode | SinkNode | BranchNode):
        return node.model_dump(mode="json", by_alias=True)
    return {"id": node.id, "type": node.type}


def _defaults(params: BaseModel) -> dict[str, Any]:
    """The default of every parameter that has one, by its name in JSON."""
    fields = type(params).model_fields.items()
    return {
        field.alias or name: field.get_default(call_default_factory=True)
        for name, field in fields
        if not field.is_required() and not field.default_factory_takes_validated_data
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
