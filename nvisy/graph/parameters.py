"""The parameters of each node: references resolved, checked by whoever takes them, paths made absolute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from nvisy.catalog import Catalog, NotInstalled
from nvisy.connector.descriptor import ActionDescriptor, SinkDescriptor, SourceDescriptor
from nvisy.errors import Fault
from nvisy.graph.complaints import Codes, Complaint, complaints
from nvisy.graph.model import ActionNode, BranchNode, Connection, Node, Routes, SinkNode, SourceNode
from nvisy.graph.parse import Draft
from nvisy.graph.positions import escape
from nvisy.graph.secrets import Redactor, Resolved, resolve
from nvisy.models.limits import Limits

_PARAMETERS = Codes(missing="NV1212", unknown="NV1211", wrong="NV1213", member="parameter")

NodeDescriptor = SourceDescriptor | SinkDescriptor | ActionDescriptor


@dataclass(frozen=True, slots=True)
class TypedNode:
    """A node with its descriptor and typed parameters.

    Attributes:
        place: Index of the node in the graph.
        descriptor: None for a branch, a fan-out and a fan-in.
        params: What the descriptor's `params` made of it; None for a fan-out and a fan-in. Holds secrets.
        connection: Resolved parameters of the connection it names. Holds secrets.
        limits: Of that connection.
    """

    place: int
    node: Node
    descriptor: NodeDescriptor | None
    params: Any = field(repr=False)
    connection: Mapping[str, Any] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)


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
        """A node with its parameters, or None when there are faults."""
        here = f"/nodes/{place}"
        if isinstance(node, BranchNode):
            written = node.params.model_dump(mode="json", exclude_unset=True)
            routes = self._typed(Routes, self._resolve(written, f"{here}/params"), f"{here}/params")
            return None if routes is None else TypedNode(place, node, None, routes)
        if not isinstance(node, SourceNode | ActionNode | SinkNode):
            return TypedNode(place, node, None, None)
        own = self._resolve(node.params, f"{here}/params")
        descriptor = self._descriptor(node, here)
        shared = self._shared(node, here)
        if descriptor is None or shared is None:
            return None
        merges = not isinstance(node, ActionNode)
        params = self._typed(descriptor.params, own, f"{here}/params", node.connection if merges else None)
        limits = self._limits.get(node.connection or "", Limits())
        return None if params is None else TypedNode(place, node, descriptor, params, shared, limits)

    def _limits_of(self, connection: Connection, pointer: str) -> Limits:
        typed = self._typed(Limits, self._resolve(connection.limits, pointer), pointer)
        return typed if isinstance(typed, Limits) else Limits()

    def _descriptor(self, node: SourceNode | ActionNode | SinkNode, here: str) -> NodeDescriptor | None:
        try:
            if isinstance(node, SourceNode):
                return self._catalog.source(node.provider)
            if isinstance(node, SinkNode):
                return self._catalog.sink(node.provider)
            return self._catalog.action(node.action)
        except NotInstalled as error:
            code, name = ("NV1202", "action") if isinstance(node, ActionNode) else ("NV1201", "provider")
            self._fault(code, error.message, f"{here}/{name}", error.hint)
            return None

    def _shared(self, node: SourceNode | ActionNode | SinkNode, here: str) -> Mapping[str, Any] | None:
        """Parameters of the connection that the node names; None where there is no such connection."""
        if node.connection is None:
            return {}
        connection = self._draft.connections.get(node.connection)
        pointer = f"{here}/connection"
        if connection is None:
            hint = f"connections: {', '.join(self._draft.connections) or 'none'}"
            self._fault("NV1207", f'there is no connection "{node.connection}"', pointer, hint)
            return None
        if isinstance(node, SourceNode | SinkNode) and connection.provider != node.provider:
            self._fault("NV1207", _foreign(node.connection, connection, node.provider), pointer)
            return None
        shared: Mapping[str, Any] = self._connections[node.connection].value
        return shared

    def _resolve(self, value: Any, pointer: str) -> Resolved:
        resolved = resolve(value, self._environ, self._draft.origin.folder)
        self.secrets |= resolved.secrets
        for reference in resolved.unresolved:
            self._fault(reference.code, reference.message, pointer + reference.pointer, reference.hint)
        return resolved

    def _typed(
        self, model: type[BaseModel], own: Resolved, pointer: str, connection: str | None = None
    ) -> BaseModel | None:
        """`own` over the connection's parameters, as `model`; a fault lies where its value was written."""
        shared = self._connections[connection] if connection else Resolved(value={})
        value = {**shared.value, **own.value}
        folder = self._draft.origin.folder
        try:
            typed = model.model_validate(value, by_alias=True, by_name=False, context={"folder": folder})
        except ValidationError as error:
            for found in complaints(error, model, value, _PARAMETERS):
                from_connection = (
                    bool(found.path) and found.path[0] in shared.value and found.path[0] not in own.value
                )
                source = shared if from_connection else own
                base = f"/connections/{escape(connection or '')}/params" if from_connection else pointer
                self._complain(found, source, base)
            return None
        return None if own.unresolved or shared.unresolved else rooted(typed, folder)

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
        fields = {name: getattr(value, name) for name in type(value).model_fields}
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


def _foreign(name: str, connection: Connection, provider: str) -> str:
    return f'the connection "{name}" is for {connection.provider}, not for {provider}'
