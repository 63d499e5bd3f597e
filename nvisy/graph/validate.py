"""A graph and a catalogue to a checked graph, or to everything that is wrong with it at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvisy.catalog import Catalog
from nvisy.connector.descriptor import ActionDescriptor, Context
from nvisy.connector.model import EmbeddingModel
from nvisy.connector.shape import Shape
from nvisy.errors import Fault, GraphError
from nvisy.graph.diamonds import diamond_faults
from nvisy.graph.hashing import config_hash
from nvisy.graph.model import ActionNode, Edge, Graph, Node
from nvisy.graph.origin import in_order
from nvisy.graph.parameters import NodeDescriptor, Parameters, TypedNode
from nvisy.graph.parse import Draft, draft_file
from nvisy.graph.reach import reach_faults
from nvisy.graph.secrets import Redactor
from nvisy.graph.shapes import Flow, Shapes
from nvisy.graph.wiring import Wiring, wiring_faults
from nvisy.models.limits import Limits, connection_id, limited


@dataclass(frozen=True, slots=True)
class CheckedNode:
    """A node that is known to work where it stands.

    Attributes:
        node: As it is written: what to print, store and hash.
        descriptor: Who builds it; None for a branch, a fan-out and a fan-in.
        params: Its typed parameters, references resolved and paths absolute; a branch's are `Routes`. Holds
            secrets.
        connection: Parameters of the connection that it names. Holds secrets.
        limits: Rate limits of that connection.
        incoming: What arrives; None at a source.
        outgoing: What leaves; None at a sink.
        config_hash: What it does to what passes, as 8 hexadecimal digits.
        models: Models it uses, `name@revision`.
    """

    node: Node
    descriptor: NodeDescriptor | None
    params: Any = field(repr=False)
    connection: Mapping[str, Any] = field(repr=False)
    incoming: Shape | None
    outgoing: Shape | None
    config_hash: str
    models: tuple[str, ...]
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class CheckedGraph:
    """A graph in which every name exists, every type fits, and every reference resolves.

    Attributes:
        nodes: By id, givers before takers.
        folder: Where relative paths and a user's modules start.
        file: Name of the graph file, or empty.
        redactor: Takes the graph's secrets out of a text.
    """

    graph: Graph
    nodes: Mapping[str, CheckedNode]
    catalog: Catalog = field(repr=False)
    redactor: Redactor = field(repr=False)

    @property
    def folder(self) -> Path:
        """Where relative paths and a user's modules start."""
        return self.graph.origin.folder

    @property
    def file(self) -> str:
        """Name of the graph file as the user gave it, or empty."""
        return self.graph.origin.file

    def incoming(self, node_id: str) -> tuple[Edge, ...]:
        """Edges that lead to a node."""
        return tuple(edge for edge in self.graph.edges if edge.to == node_id)

    def outgoing(self, node_id: str) -> tuple[Edge, ...]:
        """Edges that leave a node."""
        return tuple(edge for edge in self.graph.edges if edge.from_ == node_id)

    def descriptor(self, node_id: str) -> NodeDescriptor | None:
        """Who builds a node; None for a branch, a fan-out and a fan-in."""
        return self.nodes[node_id].descriptor

    def topic(self, node_id: str) -> str:
        """The topic that a source or sink stands for, or empty where it is none."""
        node = self.nodes[node_id]
        named = None if isinstance(node.descriptor, ActionDescriptor | None) else node.descriptor.topic
        return named(node.params) if named else ""

    def fault(self, code: str, message: str, pointer: str, hint: str = "") -> Fault:
        """A fault at a place of the graph, for those who find one later."""
        return self.graph.origin.fault(code, message, pointer, hint)

    def context(self, node_id: str, state: Path, generation: int = 1) -> Context:
        """What a node's descriptor builds it with; a source, which nothing reaches, sees what it yields."""
        checked = self.nodes[node_id]
        shape = checked.incoming or checked.outgoing
        assert shape is not None

        def opened(name: str, params: Mapping[str, Any]) -> EmbeddingModel:
            given = {**checked.connection, **params}
            model = self.catalog.open_model(name, given, timeout_ms=self._timeout_ms(checked.node))
            return limited(model, checked.limits, state, self._connection_id(checked.node, name))

        return Context(self.folder, state, opened, shape, self.graph.id, node_id, generation=generation)

    def _timeout_ms(self, node: Node) -> int | None:
        return node.timeout.node_timeout_ms if isinstance(node, ActionNode) else None

    def _connection_id(self, node: Node, model: str) -> str:
        """Names the connection that a node uses the same in every graph that writes it the same."""
        named = node.connection if isinstance(node, ActionNode) else None
        if named is None:
            return connection_id(model, {})
        connection = self.graph.connections[named]
        return connection_id(connection.provider, connection.params)


def check(
    graph: Graph, catalog: Catalog | None = None, environ: Mapping[str, str] | None = None
) -> CheckedGraph:
    """Check a graph against what is installed.

    Args:
        graph: From a file or built in Python.
        catalog: What it may use; what is installed unless given.
        environ: Where `${…}` references lead; the process's environment unless given.

    Raises:
        GraphError: With every fault.
    """
    return _checked(
        Draft.of(graph), catalog or Catalog.installed(), os.environ if environ is None else environ
    )


def check_file(
    path: str | Path, catalog: Catalog | None = None, environ: Mapping[str, str] | None = None
) -> CheckedGraph:
    """Read and check a graph file; a fault in its structure does not hide those elsewhere.

    Raises:
        GraphError: With every fault.
        UsageError: There is no such file, or it cannot be read.
    """
    catalog = catalog or Catalog.installed()
    draft = draft_file(path, catalog.names("nvisy.actions"))
    return _checked(draft, catalog, os.environ if environ is None else environ)


def _checked(draft: Draft, catalog: Catalog, environ: Mapping[str, str]) -> CheckedGraph:
    if draft.origin.file and draft.origin.positions is None:
        raise GraphError(in_order(draft.faults))  # not even JSON: there is nothing else to look at
    wiring = Wiring.of_draft(draft)
    parameters = Parameters(draft, catalog, environ)
    read = {place: parameters.read(place, node) for place, node in draft.nodes.items()}
    typed = {
        node.node.id: node for place, node in read.items() if node and wiring.index[node.node.id] == place
    }
    shapes = Shapes(draft, wiring, catalog, parameters.redactor)
    shapes.through(typed)
    faults = [
        *draft.faults,
        *parameters.faults,
        *wiring_faults(draft, wiring),
        *reach_faults(draft, wiring, shapes.idle),
        *diamond_faults(draft, wiring, typed),
        *shapes.faults,
    ]
    return CheckedGraph(
        _without(faults, draft),
        {node_id: _node(typed[node_id], shapes.flows[node_id]) for node_id in wiring.order},
        catalog,
        parameters.redactor,
    )


def _without(faults: list[Fault], draft: Draft) -> Graph:
    if faults:
        raise GraphError(in_order(faults))
    return draft.require()


def _node(typed: TypedNode, flow: Flow) -> CheckedNode:
    decides = typed.descriptor.revision if isinstance(typed.descriptor, ActionDescriptor) else None
    revision = decides(typed.params) if decides is not None else ""
    hashed = config_hash(typed.node, typed.params, flow.models, revision)
    return CheckedNode(
        node=typed.node,
        descriptor=typed.descriptor,
        params=typed.params,
        connection=typed.connection or {},
        incoming=flow.incoming,
        outgoing=flow.outgoing,
        config_hash=hashed,
        models=flow.models,
        limits=typed.limits,
    )
