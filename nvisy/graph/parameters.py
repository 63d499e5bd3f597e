"""The parameters of each node: references resolved, checked by whoever takes them, paths made absolute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nvisy.catalog import Catalog, NotInstalled, closest
from nvisy.connector.descriptor import ActionDescriptor, SinkDescriptor, SourceDescriptor
from nvisy.errors import Fault
from nvisy.graph.complaints import Codes, Complaint
from nvisy.graph.model import ActionNode, BranchNode, Connection, Node, Routes, SinkNode, SourceNode
from nvisy.graph.parse import Draft
from nvisy.graph.positions import escape
from nvisy.graph.reading import read
from nvisy.graph.secrets import Redactor, Resolved, resolve
from nvisy.models.limits import Limits

PARAMETERS = Codes(missing="NV1212", unknown="NV1211", wrong="NV1213", member="parameter")
_SURELY = 0.8
"""How like an installed name another has to be to be read as that one."""

NodeDescriptor = SourceDescriptor | SinkDescriptor | ActionDescriptor


@dataclass(frozen=True, slots=True)
class TypedNode:
    """A node with its descriptor and typed parameters, as far as they could be read.

    Attributes:
        place: Index of the node in the graph.
        descriptor: None for a branch, a fan-out and a fan-in.
        params: What the descriptor's `params` made of it, without the attributes that could not be read; None for a
            fan-out and a fan-in. Holds secrets.
        connection: Resolved parameters of the connection it names, or None where they could not be read. Holds
            secrets.
        limits: Of that connection.
        whole: Nothing is wrong with it.
    """

    place: int
    node: Node
    descriptor: NodeDescriptor | None
    params: Any = field(repr=False)
    connection: Mapping[str, Any] | None = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)
    whole: bool = True


class Parameters:
    """Reads the parameters of one graph's nodes; gathers faults, and the secrets that came in with them."""

    def __init__(self, draft: Draft, catalog: Catalog, environ: Mapping[str, str]) -> None:
        self.faults: list[Fault] = []
        self.secrets: set[str] = set()
        self._draft = draft
        self._catalog = catalog
        self._environ = environ
        self._connections = {
            name: self._resolve(connection.params, f"/connections/{escape(name)}/params")
            for name, connection in draft.connections.items()
        }
        self._limits = {
            name: self._limits_of(connection, f"/connections/{escape(name)}/limits")
            for name, connection in draft.connections.items()
        }

    @property
    def redactor(self) -> Redactor:
        """Takes the secrets seen so far out of a text."""
        return Redactor(self.secrets)

    def read(self, place: int, node: Node) -> TypedNode | None:
        """A node with its parameters, or None when it is not clear what it is."""
        here = f"/nodes/{place}"
        if isinstance(node, BranchNode):
            written = node.params.model_dump(mode="json", exclude_unset=True)
            routes, whole = self._typed(Routes, self._resolve(written, f"{here}/params"), f"{here}/params")
            return TypedNode(place, node, None, routes, whole=whole) if routes else None
        if not isinstance(node, SourceNode | ActionNode | SinkNode):
            return TypedNode(place, node, None, None)
        own = self._resolve(node.params, f"{here}/params")
        shared = self._shared(node, here)
        descriptor = self._descriptor(node, here)
        if descriptor is None:
            return None
        self._options(node, descriptor, here)
        merged = None if isinstance(node, ActionNode) else shared
        known = shared is not None or isinstance(node, ActionNode)
        params, whole = self._typed(
            descriptor.params, own, f"{here}/params", merged, node.connection, complete=known
        )
        return TypedNode(
            place,
            node,
            descriptor,
            params,
            None if shared is None or shared.unresolved else shared.value,
            self._limits.get(node.connection or "", Limits()),
            whole and shared is not None and descriptor.name == _name_of(node),
        )

    def _limits_of(self, connection: Connection, pointer: str) -> Limits:
        typed, whole = self._typed(Limits, self._resolve(connection.limits, pointer), pointer)
        return typed if whole and isinstance(typed, Limits) else Limits()

    def _descriptor(self, node: SourceNode | ActionNode | SinkNode, here: str) -> NodeDescriptor | None:
        """Who builds the node: where no such name is installed, but one almost like it is, that one."""
        kind, name = node.type, _name_of(node)
        try:
            if kind == "source":
                return self._catalog.source(name)
            return self._catalog.sink(name) if kind == "sink" else self._catalog.action(name)
        except NotInstalled as error:
            code, member = ("NV1202", "action") if kind == "action" else ("NV1201", "provider")
            self._fault(code, error.message, f"{here}/{member}", error.hint)
        installed: dict[str, NodeDescriptor] = {one.name: one for one in self._catalog.all(kind)}
        near = get_close_matches(name, installed, n=1, cutoff=_SURELY)
        return installed[near[0]] if near else None

    def _shared(self, node: SourceNode | ActionNode | SinkNode, here: str) -> Resolved | None:
        """Parameters of the connection that the node names; None where there is no such connection."""
        if node.connection is None:
            return Resolved(value={})
        connection = self._draft.connections.get(node.connection)
        pointer = f"{here}/connection"
        if connection is None:
            if node.connection not in self._draft.lost_connections:
                names = self._draft.connections
                hint = closest(node.connection, names) or f"connections: {', '.join(names) or 'none'}"
                self._fault("NV1207", f'there is no connection "{node.connection}"', pointer, hint)
            return None
        if isinstance(node, SourceNode | SinkNode) and connection.provider != node.provider:
            message = (
                f'the connection "{node.connection}" is for {connection.provider}, not for {node.provider}'
            )
            self._fault("NV1207", message, pointer, "name a connection of that provider, or none")
            return None
        return self._connections[node.connection]

    def _options(
        self, node: SourceNode | ActionNode | SinkNode, descriptor: NodeDescriptor, here: str
    ) -> None:
        """Refuse what would silently do nothing."""
        if isinstance(descriptor, ActionDescriptor) and not descriptor.whole_stream:
            return
        what = (
            f'the action "{descriptor.name}"'
            if isinstance(descriptor, ActionDescriptor)
            else f"a {node.type}"
        )
        for option in node.options:
            message = f'"{option}" has no effect on {what}'
            self._fault("NV1214", message, f"{here}/{option}", "remove it", at_name=True)

    def _resolve(self, value: Any, pointer: str) -> Resolved:
        resolved = resolve(value, self._environ, self._draft.origin.folder)
        self.secrets |= resolved.secrets
        for reference in resolved.unresolved:
            self._fault(reference.code, reference.message, pointer + reference.pointer, reference.hint)
        return resolved

    def _typed(
        self,
        model: type[BaseModel],
        own: Resolved,
        pointer: str,
        shared: Resolved | None = None,
        connection: str | None = None,
        *,
        complete: bool = True,
    ) -> tuple[BaseModel | None, bool]:
        """`own` over the connection's parameters, as `model`, and whether nothing is wrong with it.

        A fault lies where its value was written. Not `complete`: what is missing may stand in a connection that could
        not be read.
        """
        shared = shared or Resolved(value={})
        value = {**shared.value, **own.value}
        unknown = {*_members(own), *(name for name in _members(shared) if name not in own.value)}
        folder = self._draft.origin.folder
        reading = read(model, value, PARAMETERS, context={"folder": folder})
        for found in reading.complaints:
            if (found.missing and not complete) or (not (found.path or found.missing) and unknown):
                continue
            from_connection = (
                bool(found.path) and found.path[0] in shared.value and found.path[0] not in own.value
            )
            source, base = (
                (shared, f"/connections/{escape(connection or '')}/params")
                if from_connection
                else (own, pointer)
            )
            self._complain(found, source, base)
        typed = reading.partial(unknown, context={"folder": folder})
        return rooted(typed, folder), reading.typed is not None and not unknown

    def _complain(self, found: Complaint, source: Resolved, base: str) -> None:
        """Report it, unless all that is wrong is the reference that could not be resolved."""
        if any(reference.pointer == found.pointer for reference in source.unresolved):
            return
        message = self.redactor.clean(found.message)
        self._fault(found.code, message, base + found.pointer, found.hint, at_name=found.at_name)

    def _fault(self, code: str, message: str, pointer: str, hint: str = "", *, at_name: bool = False) -> None:
        self.faults.append(self._draft.origin.fault(code, message, pointer, hint, at_name=at_name))


def rooted(value: Any, folder: Path) -> Any:
    """`value` with every relative path in it starting at `folder`."""
    if isinstance(value, Path):
        return folder / value
    if isinstance(value, BaseModel):
        fields = {name: value.__dict__[name] for name in type(value).model_fields if name in value.__dict__}
        moved = {name: rooted(item, folder) for name, item in fields.items()}
        changed = {name: item for name, item in moved.items() if item is not fields[name]}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, dict):
        members = {name: rooted(item, folder) for name, item in value.items()}
        return members if any(members[name] is not item for name, item in value.items()) else value
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return _rooted_items(value, folder)
    return value


def _rooted_items(items: Sequence[Any], folder: Path) -> Sequence[Any]:
    moved = [rooted(item, folder) for item in items]
    unchanged = all(new is old for new, old in zip(moved, items, strict=True))
    return items if unchanged else type(items)(moved)  # type: ignore[call-arg] # a list or a tuple


def _name_of(node: SourceNode | ActionNode | SinkNode) -> str:
    return node.action if isinstance(node, ActionNode) else node.provider


def _members(resolved: Resolved) -> Iterator[str]:
    """Names of the members in which a reference could not be resolved."""
    for reference in resolved.unresolved:
        yield reference.pointer[1:].partition("/")[0].replace("~1", "/").replace("~0", "~")
