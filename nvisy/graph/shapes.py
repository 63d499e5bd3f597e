"""What passes along each edge, found by asking each node in turn what it makes of what arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nvisy.catalog import Catalog, NotInstalled
from nvisy.connector.descriptor import ActionDescriptor, SinkDescriptor, SourceDescriptor
from nvisy.connector.fields import fields_in
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import ExpressionError, Fault, NvisyError
from nvisy.expressions import FieldType, compile  # noqa: A004 - `re.compile` reads the same way
from nvisy.graph.model import ActionNode, BranchNode, Routes
from nvisy.graph.parameters import TypedNode
from nvisy.graph.parse import Draft
from nvisy.graph.secrets import Redactor
from nvisy.graph.wiring import Wiring

EVERYTHING = "*"
"""What a sink says that it accepts when it takes every primitive, a user's own too."""

_PLACE_FIELDS = ("dsn", "url", "path", "database", "collection")
"""Parameters by which sinks say where their collection is; two sinks that agree in all of them share it."""


@dataclass(frozen=True, slots=True)
class Flow:
    """What goes through one node.

    Attributes:
        incoming: None for a source.
        outgoing: None for a sink.
        models: Models that the node asked about, `name@revision`.
    """

    incoming: Shape | None
    outgoing: Shape | None
    models: tuple[str, ...] = ()


class _CodedMismatch(ShapeMismatch):
    """A mismatch that has a code of its own."""

    def __init__(self, code: str, message: str, hint: str = "", param: str = "") -> None:
        super().__init__(message, hint, param)
        self.code = code


class Shapes:
    """Passes shapes through a graph; gathers the flow of each node and the faults."""

    def __init__(self, draft: Draft, wiring: Wiring, catalog: Catalog, redactor: Redactor) -> None:
        self.faults: list[Fault] = []
        self.flows: dict[str, Flow] = {}
        self._draft = draft
        self._wiring = wiring
        self._catalog = catalog
        self._redactor = redactor

    def through(self, nodes: Mapping[str, TypedNode]) -> None:
        """Follow the edges from the sources on. What lies behind a node with a fault is not looked at."""
        for node_id in self._wiring.order:
            typed = nodes.get(node_id)
            if typed is None:
                continue
            try:
                flow = self._flow(typed)
            except ShapeMismatch as mismatch:
                self._mismatched(typed, mismatch)
                continue
            if flow is not None:
                self.flows[node_id] = flow
        self._sinks([nodes[node_id] for node_id in self.flows])

    def _flow(self, typed: TypedNode) -> Flow | None:
        if isinstance(typed.descriptor, SourceDescriptor):
            return Flow(None, self._asked(typed, typed.descriptor.shape, typed.params))
        incoming = self._incoming(typed)
        if incoming is None:
            return None
        if isinstance(typed.descriptor, SinkDescriptor):
            return Flow(incoming, None)
        if isinstance(typed.descriptor, ActionDescriptor):
            return self._acted(typed, typed.descriptor, incoming)
        if isinstance(typed.node, BranchNode):
            self._branch(typed, typed.params, incoming)
        return Flow(incoming, incoming)

    def _incoming(self, typed: TypedNode) -> Shape | None:
        """The one shape of everything that arrives, or None where it is not known."""
        givers = [self._wiring.edges[place].from_ for place in self._wiring.incoming(typed.node.id)]
        flows = [self.flows.get(giver) for giver in givers]
        shapes = {
            flow.outgoing: giver for flow, giver in zip(flows, givers, strict=True) if flow and flow.outgoing
        }
        if len(shapes) > 1:
            what = ", ".join(f'{shape} from "{giver}"' for shape, giver in shapes.items())
            message = f'what arrives at "{typed.node.id}" is not of one type: {what}'
            self._fault("NV1302", message, f"/nodes/{typed.place}", _hint_for(shapes))
            return None
        return next(iter(shapes), None) if all(flows) else None

    def _acted(self, typed: TypedNode, descriptor: ActionDescriptor, incoming: Shape) -> Flow:
        models: list[str] = []

        def facts(name: str, params: Mapping[str, Any]) -> tuple[str, int]:
            revision, dimensions = self._facts(typed, name, params)
            models.append(revision)
            return revision, dimensions

        outgoing = self._asked(typed, descriptor.shape, typed.params, incoming, facts)
        return Flow(incoming, outgoing, tuple(models))

    def _asked(self, typed: TypedNode, shape: Callable[..., Shape], *facts: Any) -> Shape:
        """What a plugin answers; whatever it raises is a fault of this one node."""
        try:
            return shape(*facts)
        except ShapeMismatch:
            raise
        except NvisyError as error:
            raise ShapeMismatch(str(error)) from error
        except Exception as error:
            message = f'"{_provider(typed)}" failed while it was checked: {type(error).__name__}: {error}'
            raise _CodedMismatch("NV1205", message) from error

    def _facts(self, typed: TypedNode, name: str, params: Mapping[str, Any]) -> tuple[str, int]:
        try:
            self._check_connection(typed, name)
            return self._catalog.facts(name, {**typed.connection, **params})
        except NotInstalled as error:
            raise _CodedMismatch("NV1204", error.message, error.hint, _param_of(typed, name)) from None

    def _check_connection(self, typed: TypedNode, name: str) -> None:
        if not isinstance(typed.node, ActionNode) or typed.node.connection is None:
            return
        connection = self._draft.connections[typed.node.connection]
        descriptor, _ = self._catalog.model(name)
        if connection.provider != descriptor.name:
            named = typed.node.connection
            message = f'the connection "{named}" is for {connection.provider}, not for {descriptor.name}'
            raise _CodedMismatch("NV1207", message, "", _param_of(typed, name))

    def _branch(self, typed: TypedNode, routes: Routes, incoming: Shape) -> None:
        for index, route in enumerate(routes.routes):
            try:
                compile(route.when, fields_in(incoming, route.when), FieldType.BOOL)
            except ExpressionError as error:
                pointer = f"/nodes/{typed.place}/params/routes/{index}/when"
                self._fault("NV1310", f"expression, {_said(error)}", pointer, error.hint or "")

    def _mismatched(self, typed: TypedNode, mismatch: ShapeMismatch) -> None:
        pointer = f"/nodes/{typed.place}"
        if mismatch.param:
            pointer += f"/params{mismatch.param}"
        cause = mismatch.__cause__
        if isinstance(mismatch, _CodedMismatch):
            self._fault(mismatch.code, mismatch.message, pointer, mismatch.hint)
        elif isinstance(cause, ExpressionError):
            self._fault("NV1310", f"expression, {_said(cause)}", pointer, mismatch.hint or cause.hint or "")
        else:
            self._fault("NV1301", f'"{typed.node.id}": {mismatch.message}', pointer, mismatch.hint)

    def _sinks(self, nodes: Iterable[TypedNode]) -> None:
        collections: dict[Any, tuple[str, Shape]] = {}
        for typed in nodes:
            incoming = self.flows[typed.node.id].incoming
            if isinstance(typed.descriptor, SinkDescriptor) and incoming is not None:
                for code, message, hint in self._sink(typed, typed.descriptor, incoming):
                    self._fault(code, message, f"/nodes/{typed.place}", hint)
                self._collection(typed, incoming, collections)

    def _sink(
        self, typed: TypedNode, descriptor: SinkDescriptor, incoming: Shape
    ) -> Iterator[tuple[str, str, str]]:
        able = descriptor.capabilities
        if not {incoming.primitive.type, EVERYTHING} & able.accepts:
            takes = ", ".join(sorted(able.accepts))
            hint = "put an extract before it" if incoming.raw else f"it takes {takes}"
            if "Embedding" in able.accepts and incoming.primitive.type in ("Chunk", "Document"):
                hint = f"it takes {takes}: put an embed before it"
            yield "NV1303", f'"{typed.node.id}" cannot take {incoming}', hint
        if able.max_dimensions is not None and incoming.dimensions > able.max_dimensions:
            longest = f"{descriptor.name} takes up to {able.max_dimensions}"
            message = f"vectors of {incoming.dimensions} dimensions are too long: {longest}"
            yield "NV1305", message, "use a model with fewer dimensions"
        if not able.deletes:
            for source in self._deleting_sources(typed.node.id):
                message = f'"{typed.node.id}" cannot delete, but documents of "{source}" may go away'
                yield "NV1304", message, "use a sink that can, or the index would keep what is gone"

    def _deleting_sources(self, sink: str) -> Iterator[str]:
        above = self._wiring.above([sink])
        for node_id in self._wiring.order:
            node = self._wiring.nodes[node_id]
            if (
                node_id in above
                and node.type == "source"
                and self._catalog.source(node.provider).capabilities.deletes
            ):
                yield node_id

    def _collection(self, typed: TypedNode, incoming: Shape, seen: dict[Any, tuple[str, Shape]]) -> None:
        if not hasattr(typed.params, "collection"):
            return
        place = tuple(repr(_revealed(getattr(typed.params, name, None))) for name in _PLACE_FIELDS)
        former, shape = seen.setdefault((typed.node.type, _provider(typed), place), (typed.node.id, incoming))
        if (shape.model, shape.dimensions) != (incoming.model, incoming.dimensions):
            message = f'"{typed.node.id}" and "{former}" put {incoming} and {shape} into one collection'
            self._fault("NV1306", message, f"/nodes/{typed.place}", "give each its own collection")

    def _fault(self, code: str, message: str, pointer: str, hint: str = "") -> None:
        clean = self._redactor.clean
        self.faults.append(self._draft.origin.fault(code, clean(message), pointer, clean(hint)))


def _provider(typed: TypedNode) -> str:
    return typed.descriptor.name if typed.descriptor else ""


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def _param_of(typed: TypedNode, value: str) -> str:
    """Pointer below `params` to the parameter that holds `value`."""
    named = type(typed.params).model_fields
    holding = [info.alias or name for name, info in named.items() if getattr(typed.params, name) == value]
    return f"/{holding[0]}" if holding else ""


def _said(error: ExpressionError) -> str:
    return f"column {error.column}: {error.message}" if error.column is not None else error.message


def _hint_for(shapes: Iterable[Shape]) -> str:
    if len({shape.model for shape in shapes}) > 1:
        return "vectors of different models cannot be compared: use one model, or a sink for each"
    if len({shape.raw for shape in shapes}) > 1:
        return "extract on every way"
    return "make the ways end in the same primitive"
