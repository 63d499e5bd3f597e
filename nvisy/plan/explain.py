"""What a plan is, in facts: stages, topics and why they are kept, promises, models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from nvisy.connector.descriptor import SinkDescriptor, SourceDescriptor
from nvisy.graph.model import ActionNode, Edge, SinkNode, SourceNode
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Plan, Stage, Topic, Wire
from nvisy.plan.promises import sink_promise, source_promise


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node where it stands.

    Attributes:
        does: Its provider or action; empty for a branch, a fan-out and a fan-in.
        after: The nodes and topics that give to it; a way out of a branch as `node:port`.
        takes: Type of what arrives, empty at a source.
        gives: Type of what leaves, empty at a sink.
    """

    id: str
    type: str
    does: str
    after: tuple[str, ...]
    takes: str
    gives: str


@dataclass(frozen=True, slots=True)
class StageFacts:
    """One process: what it reads, runs and fills."""

    id: str
    after: tuple[str, ...]
    alone: bool
    reads: tuple[str, ...]
    nodes: tuple[NodeFacts, ...]
    writes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic of the graph.

    Attributes:
        key: What its records are keyed by.
        versions: Its offsets number the versions of the documents.
        keeps: The node whose output it keeps, or one way out of a branch, `node:port`.
        filled_by: The stage of that node.
        why: Why the graph is cut here.
    """

    name: str
    partitions: int
    key: str
    versions: bool
    keeps: str
    filled_by: str
    read_by: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class EndFacts:
    """A source or sink, and what it promises. `guarantee` is a sink's class, empty for a source."""

    node: str
    provider: str
    guarantee: str
    promise: str


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model, `name@revision`, with the length of its vectors and the nodes that ask it."""

    model: str
    dimensions: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything there is to say of a plan before it runs.

    Attributes:
        uncut: Edges, `text → chunk`, on which the graph asks for no topic and gets none.
    """

    graph: str
    hash: str
    stages: tuple[StageFacts, ...]
    topics: tuple[TopicFacts, ...]
    dead_letters: str
    uncut: tuple[str, ...]
    sources: tuple[EndFacts, ...]
    sinks: tuple[EndFacts, ...]
    models: tuple[ModelFacts, ...]

    def as_json(self) -> dict[str, Any]:
        """What `nvisy explain --json` prints."""
        return asdict(self)


def explain(checked: CheckedGraph, plan: Plan) -> Explanation:
    """Explain the plan of a graph."""
    return Explanation(
        graph=plan.graph,
        hash=plan.hash,
        stages=tuple(_stage(checked, stage) for stage in plan.stages),
        topics=tuple(_topic(plan, topic) for topic in plan.topics),
        dead_letters=f"{plan.graph}.dlq",
        uncut=tuple(f"{edge.from_} → {edge.to}" for edge in checked.graph.edges if _is_uncut(edge, plan)),
        sources=tuple(_sources(checked)),
        sinks=tuple(_sinks(checked)),
        models=tuple(_models(checked)),
    )


def _is_uncut(edge: Edge, plan: Plan) -> bool:
    """Whether the graph asks for no topic on an edge, and there is none: in some places there has to be one."""
    wire = Wire(edge.from_, edge.to, edge.port or "")
    return edge.topic is False and any(wire in stage.wires for stage in plan.stages)


def _stage(checked: CheckedGraph, stage: Stage) -> StageFacts:
    sources = [inlet.node for inlet in stage.inlets if inlet.kind == "source"]
    sinks = [outlet.node for outlet in stage.outlets if outlet.kind != "topic"]
    return StageFacts(
        id=stage.id,
        after=stage.upstream,
        alone=stage.alone,
        reads=stage.inputs,
        nodes=tuple(_node(checked, stage, node) for node in [*sources, *stage.nodes, *sinks]),
        writes=stage.outputs,
    )


def _node(checked: CheckedGraph, stage: Stage, node_id: str) -> NodeFacts:
    found = checked.nodes[node_id]
    return NodeFacts(
        id=node_id,
        type=found.node.type,
        does=does(found.node),
        after=tuple(_way(wire) for wire in stage.into(node_id)),
        takes=str(found.incoming or ""),
        gives=str(found.outgoing or ""),
    )


def _way(wire: Wire) -> str:
    return f"{wire.origin}:{wire.port}" if wire.port else wire.origin


def does(node: Any) -> str:
    """A node's provider or action, or nothing."""
    if isinstance(node, ActionNode):
        return node.action
    return node.provider if isinstance(node, SourceNode | SinkNode) else ""


def _topic(plan: Plan, topic: Topic) -> TopicFacts:
    wire = plan.stage(topic.made_by).into(topic.name)[0]
    return TopicFacts(
        name=topic.name,
        partitions=plan.partitions,
        key="<source node>/<document key>",
        versions=topic.origin,
        keeps=_way(wire),
        filled_by=topic.made_by,
        read_by=topic.read_by,
        why=topic.why,
    )


def _sources(checked: CheckedGraph) -> Iterator[EndFacts]:
    for node_id, node in checked.nodes.items():
        if isinstance(node.descriptor, SourceDescriptor):
            yield EndFacts(node_id, node.descriptor.name, "", source_promise(node.descriptor, node.params))


def _sinks(checked: CheckedGraph) -> Iterator[EndFacts]:
    for node_id, node in checked.nodes.items():
        if isinstance(node.descriptor, SinkDescriptor):
            guarantee = node.descriptor.capabilities.guarantee
            yield EndFacts(node_id, node.descriptor.name, guarantee, sink_promise(node.descriptor))


def _models(checked: CheckedGraph) -> Iterator[ModelFacts]:
    asked: dict[str, list[str]] = {}
    for node_id, node in checked.nodes.items():
        for model in node.models:
            asked.setdefault(model, []).append(node_id)
    for model, nodes in asked.items():
        shape = checked.nodes[nodes[0]].outgoing
        yield ModelFacts(model, shape.dimensions if shape else 0, tuple(nodes))
