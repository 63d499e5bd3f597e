"""A graph as it is kept in the log: references unresolved, and nothing in it that was written out and is a secret.

What is left out is taken from the version of the graph that somebody has at hand when it is read again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from nvisy.errors import Refused
from nvisy.graph.model import Graph
from nvisy.graph.parse import parse
from nvisy.graph.validate import CheckedGraph

_LEFT_OUT = "***"


def kept(checked: CheckedGraph) -> str:
    """A graph as JSON text, to be kept."""
    value = checked.graph.value()
    for node in value.get("nodes", ()):
        secrets = set(_secret_names(checked.nodes[node["id"]].params))
        _leave_out(node.get("params", {}), secrets)
    for connection in value.get("connections", {}).values():
        _leave_out(connection.get("params", {}), connection.get("params", {}).keys())
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def graph_from(text: str, like: CheckedGraph) -> Graph:
    """The graph that was kept, in the folder of another version of it.

    Raises:
        Refused: It left out a secret that the other version does not have.
    """
    value, others = json.loads(text), like.graph.value()
    nodes = {node["id"]: node for node in others.get("nodes", ())}
    for node in value.get("nodes", ()):
        _put_back(node["id"], node, nodes.get(node["id"], {}))
    for name, connection in value.get("connections", {}).items():
        _put_back(name, connection, others.get("connections", {}).get(name, {}))
    return parse(json.dumps(value), folder=like.folder)


def _secret_names(params: Any) -> Iterator[str]:
    if isinstance(params, BaseModel):
        for name, field in type(params).model_fields.items():
            if isinstance(getattr(params, name), SecretStr):
                yield from (name, field.alias or name)


def _leave_out(params: dict[str, Any], names: Any) -> None:
    for name in set(names) & params.keys():
        if isinstance(params[name], str) and "${" not in params[name]:
            params[name] = _LEFT_OUT


def _put_back(name: str, part: dict[str, Any], other: Mapping[str, Any]) -> None:
    params, theirs = part.get("params", {}), other.get("params", {})
    for param, value in params.items():
        if value == _LEFT_OUT:
            if param not in theirs:
                raise Refused(
                    f"the log does not keep what {name} had as {param!r}, since it was written out in the graph: write"
                    f" it there again, or better as a reference, ${{NAME}}"
                )
            params[param] = theirs[param]
