"""Which edges of a graph become topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nvisy.graph.model import Edge, Graph


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a node decides on cuts.

    Attributes:
        source: It is a source.
        foreign: It is a topic of other programs: a source that needs no stage of its own.
        sink: It is a sink.
        events: It is a sink that is a topic for other programs.
        dear: What it makes is kept: a model's answers.
        alone: It is a stage of its own.
    """

    source: bool = False
    foreign: bool = False
    sink: bool = False
    events: bool = False
    dear: bool = False
    alone: bool = False


class Ways:
    """Reachability in a graph without cycles."""

    def __init__(self, graph: Graph) -> None:
        self._out: dict[str, list[Edge]] = {node.id: [] for node in graph.nodes}
        self._into: dict[str, list[Edge]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            self._out[edge.from_].append(edge)
            self._into[edge.to].append(edge)

    def into(self, node: str) -> Sequence[Edge]:
        """The edges that end at `node`."""
        return self._into[node]

    def below(self, node: str, without: Edge | None = None) -> set[str]:
        """Nodes that can be reached from `node`, itself included, not using the edge `without`."""
        return _closure(node, lambda at: [edge.to for edge in self._out[at] if edge is not without])

    def above(self, node: str) -> set[str]:
        """Nodes that `node` can be reached from, itself included."""
        return _closure(node, lambda at: [edge.from_ for edge in self._into[at]])

    def within_diamond(self, edge: Edge) -> bool:
        """Whether the edge lies on one of several ways that part at a node and come together again at another."""
        joins = {node for node in self.below(edge.to) if len(self._into[node]) > 1}
        return any(
            joins & self.below(split, without=edge)
            for split in self.above(edge.from_)
            if len(self._out[split]) > 1
        )

    def order(self) -> list[str]:
        """All nodes, each after those that give to it; otherwise in the order of the graph."""
        done: dict[str, None] = {}

        def visit(node: str) -> None:
            if node not in done:
                for edge in self._into[node]:
                    visit(edge.from_)
                done[node] = None

        for node in self._into:
            visit(node)
        return list(done)


def cut_edges(graph: Graph, traits: Callable[[str], Traits]) -> list[bool]:
    """For each edge of the graph, in order: whether a topic lies on it.

    After every source, after what is dear to make again, before each sink where there are several, and around a stage
    that has to be alone; an edge's own `topic` decides before all of these. Between a branch or fan-out and where its
    ways meet again nothing is cut, since half a change must never be kept as if it were the whole: what would be cut
    there is cut behind the meeting point.
    """
    ways = Ways(graph)
    several_sinks = sum(traits(node.id).sink for node in graph.nodes) > 1
    postponed = _meeting_points(graph, ways, traits)

    def cut(edge: Edge) -> bool:
        origin, to = traits(edge.from_), traits(edge.to)
        if origin.foreign or origin.alone or to.alone:
            return True
        if edge.topic is not None:
            return edge.topic is not False
        if origin.source:
            return True
        if ways.within_diamond(edge):
            return False
        return origin.dear or edge.from_ in postponed or (to.sink and several_sinks)

    return [cut(edge) for edge in graph.edges]


def _meeting_points(graph: Graph, ways: Ways, traits: Callable[[str], Traits]) -> set[str]:
    """Nodes where ways meet again on which something dear was made and not kept."""
    points: set[str] = set()
    for edge in graph.edges:
        if traits(edge.from_).dear and edge.topic is None and ways.within_diamond(edge):
            joins = [
                node for node in ways.order() if node in ways.below(edge.to) and len(ways.into(node)) > 1
            ]
            points.update(joins[:1])
    return points


def _closure(start: str, following: Callable[[str], Sequence[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += following(node)
    return reached
