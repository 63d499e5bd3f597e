"""The edges of a graph as paths: who gives to whom, in which order, and what cannot be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from nvisy.catalog import closest
from nvisy.errors import Fault
from nvisy.graph.model import BranchNode, Edge, Graph, Node, SinkNode, SourceNode
from nvisy.graph.parse import Draft

_SURELY = 0.8
"""How like an id another has to be to be read as that one."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """The nodes of a graph and the edges that join two of them.

    Attributes:
        nodes: By id.
        index: Place of each node in the graph.
        edges: By their place in the graph, those out of a sink and into a source included.
        order: Ids, givers before takers; nodes on a cycle are left out.
        cycle: Ids along one cycle, the first again at the end, or nothing.
    """

    nodes: Mapping[str, Node]
    index: Mapping[str, int]
    edges: Mapping[int, Edge]
    order: tuple[str, ...]
    cycle: tuple[str, ...]

    @classmethod
    def of_draft(cls, draft: Draft) -> Wiring:
        """The wiring of what could be read; an edge to almost an id that exists is taken to lead there."""
        known = {node.id for node in draft.nodes.values()} | draft.lost
        return cls.of(draft.nodes, {place: mended(edge, known) for place, edge in draft.edges.items()})

    @classmethod
    def of(cls, nodes: Mapping[int, Node], edges: Mapping[int, Edge]) -> Wiring:
        """What joins `nodes`: no edges that lead elsewhere, and of two nodes of one id only the first."""
        index: dict[str, int] = {}
        for place, node in nodes.items():
            index.setdefault(node.id, place)
        joined = {i: edge for i, edge in edges.items() if edge.from_ in index and edge.to in index}
        nodes_by_id = {node_id: nodes[place] for node_id, place in index.items()}
        order, cycle = _order(index, [edge for edge in joined.values() if _possible(edge, nodes_by_id)])
        return cls(nodes_by_id, index, joined, order, cycle)

    @classmethod
    def of_graph(cls, graph: Graph) -> Wiring:
        """The wiring of a graph that has no faults of structure."""
        return cls.of(dict(enumerate(graph.nodes)), dict(enumerate(graph.edges)))

    def incoming(self, node_id: str) -> list[int]:
        """Places of the edges that lead to a node."""
        return [place for place, edge in self.edges.items() if edge.to == node_id]

    def outgoing(self, node_id: str) -> list[int]:
        """Places of the edges that leave a node."""
        return [place for place, edge in self.edges.items() if edge.from_ == node_id]

    def below(self, starts: Iterable[str]) -> set[str]:
        """Ids of the nodes that anything from `starts` can reach, themselves included."""
        return _reach(starts, [(edge.from_, edge.to) for edge in self.edges.values()])

    def above(self, ends: Iterable[str]) -> set[str]:
        """Ids of the nodes from which something can reach `ends`, themselves included."""
        return _reach(ends, [(edge.to, edge.from_) for edge in self.edges.values()])


def wiring_faults(draft: Draft, wiring: Wiring) -> Iterator[Fault]:
    """Everything that is wrong with ids and edges, whatever the nodes do."""
    yield from _id_faults(draft)
    yield from _dangling_faults(draft, wiring)
    yield from _edge_faults(draft, wiring)
    yield from _topic_faults(draft)
    if wiring.cycle:
        yield draft.origin.fault(
            "NV1502",
            f"these nodes form a cycle: {' → '.join(wiring.cycle)}",
            f"/edges/{_place_between(wiring, *wiring.cycle[-2:])}",
            "remove one of these edges",
        )
    if not draft.lost and not draft.nameless:
        yield from _end_faults(draft, wiring)


def _id_faults(draft: Draft) -> Iterator[Fault]:
    seen: dict[str, int] = {}
    for place, node in draft.nodes.items():
        if node.id in seen:
            hint = f"nodes {seen[node.id] + 1} and {place + 1} have it; give one of them another"
            yield draft.origin.fault(
                "NV1105", f'two nodes have the id "{node.id}"', f"/nodes/{place}/id", hint
            )
        seen.setdefault(node.id, place)


def _dangling_faults(draft: Draft, wiring: Wiring) -> Iterator[Fault]:
    known = {*wiring.nodes, *draft.lost}
    for place, edge in draft.edges.items():
        for end, node_id in (("from", edge.from_), ("to", edge.to)):
            if node_id not in known and not draft.nameless:
                hint = closest(node_id, known) or f"nodes: {', '.join(sorted(known)) or 'none'}"
                pointer = f"/edges/{place}/{end}"
                yield draft.origin.fault("NV1501", f'there is no node "{node_id}"', pointer, hint)


def _edge_faults(draft: Draft, wiring: Wiring) -> Iterator[Fault]:
    seen: set[tuple[str, str, str | None]] = set()
    for place, edge in wiring.edges.items():
        giver, taker = wiring.nodes[edge.from_], wiring.nodes[edge.to]
        here = f"/edges/{place}"
        if isinstance(giver, SinkNode):
            message = f'"{giver.id}" is a sink: nothing comes out of it'
            yield draft.origin.fault(
                "NV1503", message, f"{here}/from", "let the edge start at the node before it"
            )
        if isinstance(taker, SourceNode):
            yield draft.origin.fault(
                "NV1504", f'"{taker.id}" is a source: nothing goes into it', f"{here}/to"
            )
        yield from _port_faults(draft, giver, edge, here)
        if (edge.from_, edge.to, edge.port) in seen:
            message = f'there is a second edge from "{edge.from_}" to "{edge.to}"'
            yield draft.origin.fault("NV1511", message, here, "everything would arrive twice; remove one")
        seen.add((edge.from_, edge.to, edge.port))


def _port_faults(draft: Draft, giver: Node, edge: Edge, here: str) -> Iterator[Fault]:
    if not isinstance(giver, BranchNode):
        if edge.port is not None:
            message = f'"{giver.id}" has no ports: only a branch has'
            yield draft.origin.fault("NV1510", message, f"{here}/port", 'remove "port"')
    elif edge.port is None:
        message = f'an edge from the branch "{giver.id}" needs a port'
        yield draft.origin.fault("NV1509", message, here, f"one of {', '.join(giver.params.ports)}")
    elif edge.port not in giver.params.ports:
        hint = closest(edge.port, giver.params.ports) or f"ports: {', '.join(giver.params.ports)}"
        message = f'the branch "{giver.id}" has no port "{edge.port}"'
        yield draft.origin.fault("NV1509", message, f"{here}/port", hint)


def _topic_faults(draft: Draft) -> Iterator[Fault]:
    """A topic may be read by many, but written from one way out of one node."""
    writers: dict[str, tuple[str, str | None]] = {}
    for place, edge in draft.edges.items():
        writer = (edge.from_, edge.port)
        if edge.topic and writers.setdefault(edge.topic, writer) != writer:
            message = f'the topic "{edge.topic}" is already written by "{writers[edge.topic][0]}"'
            yield draft.origin.fault("NV1514", message, f"/edges/{place}/topic", "give each its own")


def _end_faults(draft: Draft, wiring: Wiring) -> Iterator[Fault]:
    kinds = {type(node) for node in wiring.nodes.values()}
    if SourceNode not in kinds:
        yield draft.origin.fault("NV1505", "the graph has no source", "/nodes", "nothing would ever flow")
    if SinkNode not in kinds:
        yield draft.origin.fault("NV1506", "the graph has no sink", "/nodes", "nothing would be kept")


def mended(edge: Edge, known: Collection[str]) -> Edge:
    """The edge with ends that are almost an id that exists as that one."""
    ends = {"from_": edge.from_, "to": edge.to}
    near = {
        end: match[0]
        for end, node_id in ends.items()
        if node_id not in known and (match := get_close_matches(node_id, known, n=1, cutoff=_SURELY))
    }
    return edge.model_copy(update=near) if near else edge


def _possible(edge: Edge, nodes: Mapping[str, Node]) -> bool:
    return not isinstance(nodes[edge.from_], SinkNode) and not isinstance(nodes[edge.to], SourceNode)


def _order(ids: Iterable[str], edges: Iterable[Edge]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ids, givers first, in the order of the file where edges leave a choice; and one cycle."""
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(ids, ()))
    for edge in edges:
        sorter.add(edge.to, edge.from_)
    cycle: tuple[str, ...] = ()
    try:
        sorter.prepare()
    except CycleError as error:
        cycle = tuple(error.args[1])
    order: list[str] = []
    while ready := sorter.get_ready():
        order.extend(ready)
        sorter.done(*ready)
    return tuple(order), cycle


def _place_between(wiring: Wiring, giver: str, taker: str) -> int:
    return next(place for place, edge in wiring.edges.items() if (edge.from_, edge.to) == (giver, taker))


def _reach(starts: Iterable[str], steps: list[tuple[str, str]]) -> set[str]:
    found = set(starts)
    waiting = list(found)
    while waiting:
        here = waiting.pop()
        further = {there for giver, there in steps if giver == here} - found
        found |= further
        waiting.extend(further)
    return found
