"""From a checked graph to a plan: cut it at its topics, and call what hangs together a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nvisy.connector.descriptor import ActionDescriptor, SinkDescriptor, SourceDescriptor
from nvisy.errors import Fault, GraphError
from nvisy.graph.hashing import graph_hash
from nvisy.graph.model import Edge, Graph
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.cuts import Traits, Why, cut_edges, first
from nvisy.plan.model import Inlet, Outlet, Plan, Stage, Topic, Wire, sources_behind
from nvisy.primitives.primitive import content_hash


def compile_graph(checked: CheckedGraph) -> Plan:
    """The plan of a graph.

    Raises:
        GraphError: Its topics cut it into stages that wait for each other, or split what belongs together.
    """
    return _Compiler(checked).plan()


class _Compiler:
    def __init__(self, checked: CheckedGraph) -> None:
        self._checked = checked
        self._graph: Graph = checked.graph
        self._traits = {node.id: _traits(checked, node.id) for node in self._graph.nodes}
        self._order = list(checked.nodes)
        cuts = cut_edges(self._graph, self._traits.__getitem__)
        self._edges = list(zip(self._graph.edges, cuts, strict=True))
        self._member = self._members()

    def plan(self) -> Plan:
        """Compile, and check that stages can run one after the other."""
        self._refuse_second_writers()
        drafts = [self._stage(members) for members in self._groups()]
        makers = {topic: stage.id for stage in drafts for topic in stage.outputs}
        stages = [_with_upstream(stage, makers) for stage in drafts]
        ordered = [_with_sources(stage, stages) for stage in self._in_order(stages)]
        self._refuse_split_joins(ordered)
        topics = tuple(self._topics(ordered))
        return Plan(
            self._graph.id, graph_hash(self._graph), self._graph.log.partitions, tuple(ordered), topics
        )

    # --- stages ---

    def _members(self) -> dict[str, str]:
        """Every node that runs in a stage, with the first node of that stage."""
        leader = {node: node for node in self._order if not self._traits[node].foreign}

        def find(node: str) -> str:
            while leader[node] != node:
                node = leader[node]
            return node

        for edge, cut in self._edges:
            if not cut:
                a, b = find(edge.from_), find(edge.to)
                first, second = sorted((a, b), key=self._order.index)
                leader[second] = first
        return {node: find(node) for node in leader}

    def _groups(self) -> list[list[str]]:
        groups: dict[str, list[str]] = {}
        for node in self._order:
            if node in self._member:
                groups.setdefault(self._member[node], []).append(node)
        return list(groups.values())

    def _stage(self, members: Sequence[str]) -> Stage:
        inlets: dict[str, Inlet] = {}
        outlets: dict[str, Outlet] = {}
        wires: list[Wire] = []
        for node in members:
            if self._traits[node].source:
                inlets[node] = Inlet("source", node, node)
            if self._traits[node].sink:
                outlets[node] = Outlet("foreign" if self._traits[node].events else "sink", node, node)
        for edge, cut in self._edges:
            inside = edge.to in members
            if cut:
                inlet, outlet = self._ends(edge)
                if inside:
                    inlets.setdefault(inlet.name, inlet)
                    wires.append(Wire(inlet.name, edge.to))
                if edge.from_ in members and outlet.name not in outlets:
                    outlets[outlet.name] = outlet
                    wires.append(Wire(edge.from_, outlet.name, edge.port or ""))
            elif inside:
                wires.append(Wire(edge.from_, edge.to, edge.port or ""))
        nodes = tuple(node for node in members if not (self._traits[node].source or self._traits[node].sink))
        return Stage(
            id=members[0],
            inlets=tuple(inlets.values()),
            nodes=nodes,
            outlets=tuple(outlets.values()),
            wires=tuple(wires),
            config=self._config([one.node for one in inlets.values() if one.kind == "foreign"], nodes, wires),
            alone=any(self._traits[node].whole_stream for node in members),
        )

    def _ends(self, edge: Edge) -> tuple[Inlet, Outlet]:
        """A cut edge as the stage behind it reads it, and as the stage before it writes it."""
        if self._traits[edge.from_].foreign:
            topic = self._checked.topic(edge.from_)
            return Inlet("foreign", topic, edge.from_), Outlet("topic", topic, edge.from_)
        port = f".{edge.port}" if edge.port else ""
        default = f"{self._graph.id}.{edge.from_}{port}"
        if default in _run_topics(self._graph.id):
            default += ".out"
        topic = edge.topic or default
        return Inlet("topic", topic, edge.from_), Outlet("topic", topic, edge.from_)

    def _config(self, foreign: Sequence[str], steps: Sequence[str], wires: Sequence[Wire]) -> str:
        """Changes when the stage would make something else of the same input. A source's or sink's place does not.

        What a topic of other programs is read as is up to its node, whose name the documents bear too.
        """
        nodes = [f"{node}@{self._checked.nodes[node].config_hash}" for node in (*foreign, *steps)]
        ways = sorted(f"{wire.origin}:{wire.port}>{wire.to}" for wire in wires)
        return content_hash(*nodes, *ways)[:8]

    # --- topics ---

    def _topics(self, stages: Sequence[Stage]) -> Sequence[Topic]:
        readers: dict[str, list[str]] = {}
        for stage in stages:
            for topic in stage.inputs:
                readers.setdefault(topic, []).append(stage.id)
        reasons: dict[str, list[Why]] = {}
        for edge, cut in self._edges:
            if cut:
                reasons.setdefault(self._ends(edge)[1].name, []).append(cut)
        return [
            Topic(name, _numbers(stage), stage.id, tuple(readers.get(name, ())), first(reasons[name]))
            for stage in stages
            for name in stage.outputs
        ]

    # --- checks ---

    def _refuse_second_writers(self) -> None:
        """What is written to one topic comes from one way out of one node, which is what keeps it in order."""
        writers = dict(_run_topics(self._graph.id))
        for node in self._graph.nodes:
            if self._traits[node.id].events:
                writers[self._checked.topic(node.id)] = f'the sink "{node.id}"'
        for place, (edge, cut) in enumerate(self._edges):
            if not cut:
                continue
            topic = self._ends(edge)[1].name
            writer = f'"{edge.from_}"' + (f', port "{edge.port}"' if edge.port else "")
            if writers.setdefault(topic, writer) != writer:
                message = f'the topic "{topic}" is already written by {writers[topic]}'
                hint = "give the edge a topic of its own"
                fault = self._graph.origin.fault("NV1514", message, f"/edges/{place}", hint)
                raise GraphError([fault])

    def _in_order(self, stages: Sequence[Stage]) -> list[Stage]:
        done: dict[str, Stage] = {}
        waiting = list(stages)
        while waiting:
            ready = [stage for stage in waiting if all(up in done for up in stage.upstream)]
            if not ready:
                names = " and ".join(repr(stage.id) for stage in waiting)
                raise GraphError(
                    [self._fault("NV1521", f"the stages {names} wait for each other", waiting[0].id)]
                )
            done.update((stage.id, stage) for stage in ready)
            waiting = [stage for stage in waiting if stage.id not in done]
        return list(done.values())

    def _refuse_split_joins(self, stages: Sequence[Stage]) -> None:
        """Changes of one source that meet at a node must come from one topic, else halves look like wholes."""
        made = {topic: stage for stage in stages for topic in stage.outputs}
        for stage in stages:
            for node in [*stage.nodes, *(outlet.name for outlet in stage.outlets)]:
                by_source: dict[str, str] = {}
                for inlet in stage.arity(node):
                    for source in sources_behind(inlet, made, stage):
                        other = by_source.setdefault(source, inlet)
                        if other != inlet:
                            message = f"{node!r} gets changes of {source!r} from two topics, {other!r} and {inlet!r}"
                            raise GraphError([self._fault("NV1522", message, node)])

    def _fault(self, code: str, message: str, node: str) -> Fault:
        index = next((i for i, one in enumerate(self._graph.nodes) if one.id == node), 0)
        hint = 'set "topic": false on the edges between'
        return self._graph.origin.fault(code, message, f"/nodes/{index}", hint)


def _traits(checked: CheckedGraph, node: str) -> Traits:
    match checked.nodes[node].descriptor:
        case SourceDescriptor() as source:
            return Traits(source=source.topic is None, foreign=source.topic is not None)
        case SinkDescriptor() as sink:
            return Traits(sink=True, events=sink.topic is not None)
        case ActionDescriptor() as action:
            return Traits(cut=action.cut, whole_stream=action.whole_stream)
        case _:
            return Traits()


def _run_topics(graph: str) -> Mapping[str, str]:
    """Topics that a run keeps for itself beside those of the edges, and what for."""
    kept = {"dlq": "dead letters", "state": "its state", "runs": "its history"}
    return {f"{graph}.{name}": f"the run, with {what}" for name, what in kept.items()}


def _with_upstream(stage: Stage, makers: Mapping[str, str]) -> Stage:
    upstream = tuple(dict.fromkeys(makers[topic] for topic in stage.inputs if topic in makers))
    return replace(stage, upstream=upstream)


def _with_sources(stage: Stage, stages: Sequence[Stage]) -> Stage:
    """What decides over all keys at once decides anew when a source goes or comes back."""
    if not stage.alone:
        return stage
    made = {topic: one for one in stages for topic in one.outputs}
    sources = {source for inlet in stage.inlets for source in sources_behind(inlet.name, made, stage)}
    return replace(stage, config=content_hash(stage.config, *sorted(sources))[:8])


def _numbers(stage: Stage) -> bool:
    """Whether the offsets in this stage's topics are versions: nothing before it gave one."""
    return stage.alone or any(inlet.kind == "source" for inlet in stage.inlets)
