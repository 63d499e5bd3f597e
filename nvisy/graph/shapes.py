"""What passes along each edge, found by asking each node in turn what it makes of what arrives.

Where a fault hides what arrives at a node, the node is asked about every primitive: what it says to all of them is a
fault whatever arrives, and what it makes of those that it takes goes on to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from nvisy.catalog import Catalog, NotInstalled
from nvisy.connector.descriptor import ActionDescriptor, SinkDescriptor, SourceDescriptor
from nvisy.connector.fields import fields_of
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import ExpressionError, Fault, NvisyError
from nvisy.expressions import FieldType, compile  # noqa: A004 - `re.compile` reads the same way
from nvisy.graph.complaints import Complaint
from nvisy.graph.model import ActionNode, BranchNode, Routes
from nvisy.graph.parameters import PARAMETERS, TypedNode
from nvisy.graph.parse import Draft
from nvisy.graph.positions import escape
from nvisy.graph.reading import read
from nvisy.graph.secrets import Redactor
from nvisy.graph.sinks import Sinks
from nvisy.graph.wiring import Wiring
from nvisy.primitives import PrimitiveTypes


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


class _Unknown(Exception):  # noqa: N818 - a state, and reads as one where it is caught
    """What the answer depends on is itself at fault, and was reported."""


@dataclass(frozen=True, slots=True)
class _Wrong:
    """A fault that a node finds with what arrives: `pointer` is absolute."""

    code: str
    message: str
    pointer: str
    hint: str = ""

    @property
    def said(self) -> tuple[str, str, str]:
        """What makes it another fault than others; a hint may list the fields of what arrived."""
        return self.code, self.message, self.pointer


class _Mismatch(ShapeMismatch):
    """Faults that have a code and a place of their own."""

    def __init__(self, *faults: _Wrong) -> None:
        super().__init__(faults[0].message)
        self.faults = faults


class Shapes:
    """Passes shapes through a graph; gathers the flow of each node and the faults.

    Attributes:
        flows: By node, of those that answered.
        idle: Nodes without edges that a fault tells to put to use.
    """

    def __init__(self, draft: Draft, wiring: Wiring, catalog: Catalog, redactor: Redactor) -> None:
        self.faults: list[Fault] = []
        self.flows: dict[str, Flow] = {}
        self.idle: set[str] = set()
        self._leaving: dict[str, Shape] = {}
        self._draft = draft
        self._wiring = wiring
        self._catalog = catalog
        self._redactor = redactor

    def through(self, nodes: Mapping[str, TypedNode]) -> None:
        """Follow the edges from the sources on."""
        sinks = Sinks(nodes, self._wiring)
        for node_id in dict.fromkeys([*self._wiring.order, *self._wiring.nodes]):
            if node_id in nodes:
                self._pass(nodes[node_id], sinks)
        self.idle = sinks.idle

    def _pass(self, typed: TypedNode, sinks: Sinks) -> None:
        if isinstance(typed.descriptor, SourceDescriptor):
            self._start(typed, typed.descriptor)
            return
        incoming = self._incoming(typed)
        if isinstance(typed.descriptor, SinkDescriptor):
            if incoming is not None:
                self.flows[typed.node.id] = Flow(incoming, None)
            for said in sinks.faults(typed, incoming):
                self._report(_Wrong(said.code, said.message, _pointer(typed), said.hint))
            return
        if incoming is None or not self._answered(typed, incoming):
            self._guess(typed, report=incoming is None)

    def _start(self, typed: TypedNode, descriptor: SourceDescriptor) -> None:
        try:
            self._flows(typed, Flow(None, self._asked(typed, descriptor.shape, typed.params)))
        except _Unknown:
            return
        except ShapeMismatch as mismatch:
            self._report(*_wrong(typed, mismatch))

    def _answered(self, typed: TypedNode, incoming: Shape) -> bool:
        """Ask a node about what arrives; whether there was nothing to say against it."""
        try:
            self._flows(typed, self._flow(typed, incoming))
        except _Unknown:
            return False
        except ShapeMismatch as mismatch:
            self._report(*_wrong(typed, mismatch))
            return False
        return True

    def _guess(self, typed: TypedNode, *, report: bool) -> None:
        """Ask a node about every primitive, since it is not known what arrives, or what arrives does not fit."""
        made: set[Shape] = set()
        said: list[tuple[_Wrong, ...]] = []
        for primitive in PrimitiveTypes(self._catalog.all("primitive")).values():
            try:
                outgoing = self._flow(typed, Shape(primitive)).outgoing
            except _Unknown:
                return
            except ShapeMismatch as mismatch:
                said.append(tuple(one for one in _wrong(typed, mismatch) if one.pointer != _pointer(typed)))
                continue
            if outgoing is not None:
                made.add(outgoing)
        if len(made) == 1:
            self._leaving[typed.node.id] = made.pop()
        if report and not made and typed.node.id not in self._leaving:
            self._report_common(said)

    def _report_common(self, answers: Iterable[tuple[_Wrong, ...]]) -> None:
        """What a node says of a parameter, if it says so to all primitives that it says anything else to."""
        spoken = [answer for answer in answers if answer]
        if len({tuple(one.said for one in answer) for answer in spoken}) == 1:
            same = len(set(spoken)) == 1
            for one in spoken[0]:
                self._report(_Wrong(*one.said, one.hint if same else ""))

    def _flows(self, typed: TypedNode, flow: Flow) -> None:
        self.flows[typed.node.id] = flow
        if flow.outgoing is not None:
            self._leaving[typed.node.id] = flow.outgoing

    def _flow(self, typed: TypedNode, incoming: Shape) -> Flow:
        if isinstance(typed.descriptor, ActionDescriptor):
            return self._acted(typed, typed.descriptor, incoming)
        if isinstance(typed.node, BranchNode):
            _check_routes(typed, incoming)
        return Flow(incoming, incoming)

    def _incoming(self, typed: TypedNode) -> Shape | None:
        """The one shape of everything that arrives, or None where it is not known."""
        givers = [self._wiring.edges[place].from_ for place in self._wiring.incoming(typed.node.id)]
        known = {giver: self._leaving[giver] for giver in givers if giver in self._leaving}
        if len(set(known.values())) > 1:
            if known.keys() <= self.flows.keys():
                what = ", ".join(f'{shape} from "{giver}"' for giver, shape in known.items())
                message = f'what arrives at "{typed.node.id}" is not of one type: {what}'
                self._report(_Wrong("NV1302", message, _pointer(typed), _hint_for(known.values())))
            return None
        return next(iter(known.values()), None) if len(known) == len(set(givers)) else None

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
        except (ShapeMismatch, _Unknown):
            raise
        except Exception as error:
            if not typed.whole:
                raise _Unknown from error
            if isinstance(error, NvisyError):
                raise ShapeMismatch(str(error)) from error
            assert typed.descriptor is not None
            message = (
                f'"{typed.descriptor.name}" failed while it was checked: {type(error).__name__}: {error}'
            )
            raise _Mismatch(_Wrong("NV1205", message, _pointer(typed))) from error

    def _facts(self, typed: TypedNode, name: str, params: Mapping[str, Any]) -> tuple[str, int]:
        """What the catalogue knows of a model, with the parameters that the node and its connection give."""
        pointer = f"{_pointer(typed)}/params{_param_of(typed, name)}"
        try:
            self._check_connection(typed, name, pointer)
            if typed.connection is None:
                raise _Unknown
            given = {**typed.connection, **params}
            self._check_model(typed, name, given, pointer)
            return self._catalog.facts(name, given)
        except NotInstalled as error:
            raise _Mismatch(_Wrong("NV1204", error.message, pointer, error.hint)) from None

    def _check_connection(self, typed: TypedNode, name: str, pointer: str) -> None:
        descriptor, _ = self._catalog.model(name)
        named = typed.node.connection if isinstance(typed.node, ActionNode) else None
        connection = self._draft.connections.get(named or "")
        if connection is not None and connection.provider != descriptor.name:
            message = f'the connection "{named}" is for {connection.provider}, not for {descriptor.name}'
            hint = "name a connection of that provider, or none"
            raise _Mismatch(_Wrong("NV1207", message, pointer, hint))

    def _check_model(self, typed: TypedNode, name: str, given: Mapping[str, Any], pointer: str) -> None:
        """Complain about a model's parameters where they are written."""
        descriptor, rest = self._catalog.model(name)
        value = {**({"model": rest} if rest else {}), **given}
        found = read(descriptor.params, value, PARAMETERS).complaints
        if found:
            raise _Mismatch(*(self._model_fault(typed, name, one, pointer) for one in found))

    def _model_fault(self, typed: TypedNode, name: str, found: Complaint, pointer: str) -> _Wrong:
        node = typed.node
        assert isinstance(node, ActionNode)
        where, first = pointer, found.path[0] if found.path else ""
        if first in node.params:
            where = f"{_pointer(typed)}/params{found.pointer}"
        elif typed.connection and first in typed.connection and node.connection:
            where = f"/connections/{escape(node.connection)}/params{found.pointer}"
        code = "NV1204" if where == pointer else found.code
        return _Wrong(code, f'model "{name}": {found.message}', where, found.hint)

    def _report(self, *faults: _Wrong) -> None:
        clean = self._redactor.clean
        for one in faults:
            self.faults.append(
                self._draft.origin.fault(one.code, clean(one.message), one.pointer, clean(one.hint))
            )


def _check_routes(typed: TypedNode, incoming: Shape) -> None:
    """Compile the expressions of a branch over the fields of what arrives."""
    if not typed.whole:
        raise _Unknown
    routes: Routes = typed.params
    faults = []
    for index, route in enumerate(routes.routes):
        try:
            compile(route.when, fields_of(incoming.primitive), FieldType.BOOL)
        except ExpressionError as error:
            pointer = f"{_pointer(typed)}/params/routes/{index}/when"
            faults.append(_Wrong("NV1310", f"expression, {_said(error)}", pointer, error.hint or ""))
    if faults:
        raise _Mismatch(*faults)


def _wrong(typed: TypedNode, mismatch: ShapeMismatch) -> tuple[_Wrong, ...]:
    """A mismatch as faults with a code and a place."""
    if isinstance(mismatch, _Mismatch):
        return mismatch.faults
    pointer = _pointer(typed) + (f"/params{mismatch.param}" if mismatch.param else "")
    cause = mismatch.__cause__
    if isinstance(cause, ExpressionError):
        return (_Wrong("NV1310", f"expression, {_said(cause)}", pointer, mismatch.hint or cause.hint or ""),)
    return (_Wrong("NV1301", f'"{typed.node.id}": {mismatch.message}', pointer, mismatch.hint),)


def _pointer(typed: TypedNode) -> str:
    return f"/nodes/{typed.place}"


def _param_of(typed: TypedNode, value: str) -> str:
    """Pointer below `params` to the parameter that holds `value`."""
    params = typed.params
    named = type(params).model_fields if isinstance(params, BaseModel) else {}
    holding = [info.alias or name for name, info in named.items() if params.__dict__.get(name) == value]
    return f"/{holding[0]}" if holding else ""


def _said(error: ExpressionError) -> str:
    return f"column {error.column}: {error.message}" if error.column is not None else error.message


def _hint_for(shapes: Iterable[Shape]) -> str:
    shapes = set(shapes)
    if len({shape.model for shape in shapes}) > 1:
        return "vectors of different models cannot be compared: use one model, or a sink for each"
    if len({shape.raw for shape in shapes}) > 1:
        return "extract on every way"
    return "make the ways end in the same primitive"
