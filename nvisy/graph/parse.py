"""Graph text to a model; of a graph that is wrong, as much as can be read, and each fault with its place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from nvisy.catalog import closest
from nvisy.errors import Fault, GraphError, UsageError
from nvisy.graph.complaints import Codes
from nvisy.graph.model import NODE_KINDS, Connection, Edge, Graph, Node
from nvisy.graph.origin import Origin, in_order
from nvisy.graph.positions import MAX_BYTES, JsonFault, escape, scan, too_large
from nvisy.graph.reading import read as read_model

_STRUCTURE = Codes(missing="NV1101", unknown="NV1102", wrong="NV1103")
_P = TypeVar("_P", bound=BaseModel)


@dataclass(slots=True)
class Draft:
    """What could be read of a graph, and what is wrong with the rest: so that one look finds every fault.

    Attributes:
        nodes: By their index in the file. One with a fault is among them as far as it is clear what was meant.
        edges: By their index in the file, likewise.
        lost: Ids of nodes that could not be read, as far as their ids could.
        nameless: Whether there are nodes of which not even the id can be read, so that any edge may lead to them.
        loose: Whether there are edges of which not both ends can be read.
        lost_connections: Names of connections that could not be read.
        graph: The whole graph, or None when it has faults.
    """

    origin: Origin
    nodes: dict[int, Node] = field(default_factory=dict)
    edges: dict[int, Edge] = field(default_factory=dict)
    connections: dict[str, Connection] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    nameless: bool = False
    loose: bool = False
    lost_connections: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    graph: Graph | None = None

    @classmethod
    def of(cls, graph: Graph) -> Draft:
        """A graph that has no faults of structure."""
        nodes, edges = dict(enumerate(graph.nodes)), dict(enumerate(graph.edges))
        return cls(graph.origin, nodes, edges, dict(graph.connections), graph=graph)

    def require(self) -> Graph:
        """The graph, or GraphError with everything that is wrong with its structure."""
        if self.graph is None:
            raise GraphError(in_order(self.faults))
        return self.graph


def load(path: str | Path) -> Graph:
    """Read a graph file.

    Raises:
        GraphError: It is not a graph; everything that is wrong with its structure.
        UsageError: There is no such file, or it cannot be read.
    """
    return draft_file(path).require()


def parse(text: str | bytes, *, file: str = "", folder: Path | None = None) -> Graph:
    """Read a graph from JSON text; `file` is what faults call it, and relative paths in it start at `folder`.

    Raises:
        GraphError: It is not a graph; everything that is wrong with its structure.
    """
    return draft(text, file=file, folder=folder).require()


def draft_file(path: str | Path, actions: Collection[str] = ()) -> Draft:
    """As much of a graph file as can be read; `actions` are names to compare a mistyped node type with."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the graph {path}: {error.strerror or error}") from None
    return draft(data, file=str(path), folder=path.absolute().parent, actions=actions)


def draft(
    text: str | bytes, *, file: str = "", folder: Path | None = None, actions: Collection[str] = ()
) -> Draft:
    """As much of a graph as can be read from `text`."""
    origin = Origin(file, folder or Path.cwd())
    try:
        value, positions = scan(_decoded(text))
    except JsonFault as wrong:
        fault = Fault(wrong.code, wrong.message, "", wrong.line, wrong.column, wrong.hint, file)
        return Draft(origin, faults=[fault])
    return read(value, Origin(file, origin.folder, positions), actions)


def read(value: Any, origin: Origin, actions: Collection[str] = ()) -> Draft:
    """As much of a graph as can be read from a JSON value."""
    return _Reader(origin, actions).draft(_without_comments(value))


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        raise too_large()
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8-sig", errors="replace")
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        raise JsonFault("NV1005", "this is not UTF-8 text", line, column, "save the file as UTF-8") from None


def _without_comments(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_comments(member) for name, member in value.items() if name != "_comment"}
    return [_without_comments(item) for item in value] if isinstance(value, list) else value


class _Reader:
    """Reads node by node and edge by edge, so that a fault in one hides none in the others."""

    def __init__(self, origin: Origin, actions: Collection[str]) -> None:
        self._actions = actions
        self._draft = Draft(origin)

    def draft(self, value: Any) -> Draft:
        if not isinstance(value, dict):
            self._draft.nameless = True
            self._fault(
                "NV1103", "a graph is a JSON object", "", 'as in {"name": "docs", "nodes": [], "edges": []}'
            )
            return self._draft
        parts: dict[str, Any] = {"nodes": [], "edges": [], "connections": {}}
        self._misnamed(value, parts)
        head = self._read(Graph, {name: v for name, v in value.items() if name not in parts}, "")
        for index, node in self._items(value, "nodes"):
            self._node(index, node)
        for index, edge in self._items(value, "edges"):
            self._edge(index, edge)
        self._connections(value.get("connections", {}))
        if head is not None and not self._draft.faults:
            given = {name: part for name, part in self._parts().items() if name in value}
            self._draft.graph = head.model_copy(update=given).at(self._draft.origin)
        return self._draft

    def _misnamed(self, value: dict[str, Any], parts: Mapping[str, Any]) -> None:
        """Where the nodes stand under a misspelled name, nothing can be said of what the edges lead to, and so on."""
        others = [name for name in value if name not in Graph.model_fields and name != "$schema"]
        missing = {name for name in parts if name not in value and get_close_matches(name, others, n=1)}
        self._draft.nameless |= "nodes" in missing
        self._draft.loose |= "edges" in missing
        if "connections" in missing:
            given = value[get_close_matches("connections", others, n=1)[0]]
            self._draft.lost_connections |= set(given) if isinstance(given, dict) else set()

    def _parts(self) -> Mapping[str, Any]:
        nodes, edges = tuple(self._draft.nodes.values()), tuple(self._draft.edges.values())
        return {"nodes": nodes, "edges": edges, "connections": self._draft.connections}

    def _items(self, value: dict[str, Any], name: str) -> list[tuple[int, Any]]:
        items = value.get(name, [])
        if isinstance(items, list):
            return list(enumerate(items))
        self._draft.nameless = True
        self._fault("NV1103", f'"{name}" has to be a list', f"/{name}")
        return []

    def _node(self, index: int, value: Any) -> None:
        pointer = f"/nodes/{index}"
        if not isinstance(value, dict):
            self._draft.nameless = True
            self._fault("NV1103", "a node is a JSON object", pointer)
            return
        written = self._typed(value, pointer)
        read = None
        if written is not None:
            read = self._read(NODE_KINDS[written["type"]], written, pointer)
        if read is not None:
            self._draft.nodes[index] = read  # type: ignore[assignment] # the kinds of nodes are what `Node` is
        elif isinstance(value.get("id"), str):
            self._draft.lost.add(value["id"])
        else:
            self._draft.nameless = True

    def _typed(self, value: dict[str, Any], pointer: str) -> dict[str, Any] | None:
        """The node with the type that it has or that is clearly meant, or nothing."""
        kind = value.get("type")
        if kind == "target" or (kind == "action" and value.get("action") == "load"):
            return _as_sink(value)
        if isinstance(kind, str) and kind in NODE_KINDS:
            return value
        if "type" not in value:
            return self._untyped(value, pointer)
        if isinstance(kind, str) and kind in self._actions:
            hint = f'write "type": "action", "action": "{kind}"'
            self._fault("NV1203", f'unknown node type "{kind}"', f"{pointer}/type", hint)
            return {**value, "type": "action", "action": kind}
        near = closest(str(kind), [*NODE_KINDS, *self._actions])
        hint = near or f"one of {', '.join(NODE_KINDS)}"
        self._fault("NV1203", f'unknown node type "{kind}"', f"{pointer}/type", hint)
        meant = next((name for name in NODE_KINDS if f'"{name}"' in near), None)
        return {**value, "type": meant} if meant else None

    def _untyped(self, value: dict[str, Any], pointer: str) -> dict[str, Any] | None:
        """The node where its type stands under a misspelled name; else only an action can be told from its fields."""
        for name in get_close_matches("type", value, n=1):
            if value[name] in NODE_KINDS:
                message = f'unknown field "{name}"'
                self._fault(
                    "NV1102", message, f"{pointer}/{escape(name)}", 'did you mean "type"?', at_name=True
                )
                return {**{member: v for member, v in value.items() if member != name}, "type": value[name]}
        self._fault("NV1101", '"type" is missing', pointer, f"one of {', '.join(NODE_KINDS)}")
        return {**value, "type": "action"} if "action" in value else None

    def _edge(self, index: int, value: Any) -> None:
        if read := self._read(Edge, value, f"/edges/{index}"):
            self._draft.edges[index] = read
        else:
            self._draft.loose = True

    def _connections(self, value: Any) -> None:
        if not isinstance(value, dict):
            self._fault("NV1103", '"connections" has to be an object', "/connections")
            return
        for name, connection in value.items():
            pointer = f"/connections/{escape(name)}"
            if read := self._read(Connection, connection, pointer):
                self._draft.connections[name] = read
            else:
                self._draft.lost_connections.add(name)

    def _read(self, model: type[_P], value: Any, pointer: str) -> _P | None:
        reading = read_model(model, value, _STRUCTURE)
        for found in reading.complaints:
            self._fault(found.code, found.message, pointer + found.pointer, found.hint, at_name=found.at_name)
        return reading.defaulted()

    def _fault(self, code: str, message: str, pointer: str, hint: str = "", *, at_name: bool = False) -> None:
        self._draft.faults.append(self._draft.origin.fault(code, message, pointer, hint, at_name=at_name))


def _as_sink(value: dict[str, Any]) -> dict[str, Any]:
    """A sink that is written as a target, or as an action."""
    kept = {name: v for name, v in value.items() if name != "action" or value["type"] != "action"}
    return kept | {"type": "sink"}
