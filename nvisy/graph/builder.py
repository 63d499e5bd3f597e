"""Graphs in Python: the same model that JSON gives, written as calls.

```python
g = Graph.build("docs")
text = g.source("files", "object/files", path="docs").action("text", "extract")
vectors = text.action("chunk", "chunk", size=400).action("embed", "embed", model="local/hash")
vectors.sink("index", "vector/sqlite", path="index.db", collection="docs")
graph = g.graph()
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nvisy.graph.model import Graph
from nvisy.graph.origin import Origin
from nvisy.graph.parse import read

Topic = str | Literal[False] | None


@dataclass(frozen=True, slots=True)
class Tail:
    """The open end of a graph under construction: what is added to it comes after `node`.

    Attributes:
        node: Id of the node.
        way: Which way out of a branch, or None.
        named: Topic that the next edge is kept in, False for none, None for what the plan decides.
    """

    graph: GraphBuilder = field(repr=False)
    node: str
    way: str | None = None
    named: Topic = None

    def action(
        self, node_id: str, action: str, *, options: Mapping[str, Any] | None = None, **params: Any
    ) -> Tail:
        """Add an action; `options` are a node's other fields, `{"retry": {"maxRetries": 5}}`."""
        return self.graph.add([self], {"id": node_id, "type": "action", "action": action}, params, options)

    def sink(
        self, node_id: str, provider: str, *, options: Mapping[str, Any] | None = None, **params: Any
    ) -> None:
        """End here, in a sink."""
        self.graph.add([self], {"id": node_id, "type": "sink", "provider": provider}, params, options)

    def branch(self, node_id: str, routes: Mapping[str, str], *, default: str | None = None) -> Tail:
        """Part by expression: `{"code": "metadata.lang == 'py'"}`. Go on from its `port`s."""
        ways = [{"port": port, "when": when} for port, when in routes.items()]
        params = {"routes": ways} | ({"default": default} if default else {})
        return self.graph.add([self], {"id": node_id, "type": "branch"}, params)

    def fanout(self, node_id: str) -> Tail:
        """Go every way: add as many nodes after it as there are ways."""
        return self.graph.add([self], {"id": node_id, "type": "fanout"})

    def port(self, port: str) -> Tail:
        """This way out of a branch."""
        return Tail(self.graph, self.node, port, self.named)

    def topic(self, name: str | Literal[False]) -> Tail:
        """Keep what leaves here in a topic of this name, or with False in none."""
        return Tail(self.graph, self.node, self.way, name)


class GraphBuilder:
    """Gathers nodes and edges; `graph` gives the model, `to_json` the file."""

    def __init__(self, name: str, **fields: Any) -> None:
        self._head = {"name": name, **fields}
        self._nodes: list[dict[str, Any]] = []
        self._edges: list[dict[str, Any]] = []
        self._connections: dict[str, Any] = {}

    def source(
        self, node_id: str, provider: str, *, options: Mapping[str, Any] | None = None, **params: Any
    ) -> Tail:
        """Start at a source."""
        return self.add([], {"id": node_id, "type": "source", "provider": provider}, params, options)

    def fanin(self, node_id: str, tails: Sequence[Tail]) -> Tail:
        """Bring ways together."""
        return self.add(tails, {"id": node_id, "type": "fanin"})

    def connection(
        self, name: str, provider: str, *, limits: Mapping[str, Any] | None = None, **params: Any
    ) -> str:
        """Add a connection, and give its name for `options={"connection": name}`."""
        self._connections[name] = {"provider": provider, "params": params} | (
            {"limits": dict(limits)} if limits else {}
        )
        return name

    def add(
        self,
        tails: Sequence[Tail],
        node: dict[str, Any],
        params: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> Tail:
        """Add a node of any kind, given as in JSON, after these ends."""
        self._nodes.append(node | ({"params": _plain(params)} if params else {}) | dict(options or {}))
        for tail in tails:
            edge = {"from": tail.node, "to": node["id"], "port": tail.way, "topic": tail.named}
            self._edges.append({name: value for name, value in edge.items() if value is not None})
        return Tail(self, node["id"])

    def graph(self, folder: Path | None = None) -> Graph:
        """The graph so far; relative paths in it start at `folder`, or at the working directory.

        Raises:
            GraphError: An id, a name or an option is wrong. Whether nodes fit each other is for `check` to
            say.
        """
        value = {**self._head, "nodes": self._nodes, "edges": self._edges}
        if self._connections:
            value["connections"] = self._connections
        return read(value, Origin(folder=(folder or Path.cwd()).absolute())).require()

    def to_json(self) -> str:
        """The graph so far as JSON text."""
        return self.graph().to_json()


def _plain(value: Any) -> Any:
    """Parameters as JSON has them: a path is text, a tuple a list."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
