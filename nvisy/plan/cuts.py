"""Which edges of a graph become topics, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nvisy.errors import GraphError
from nvisy.graph.diamonds import inside_diamonds
from nvisy.graph.model import Edge, Graph
from nvisy.graph.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Traits:
    """What of a node decides on cuts.

    Attributes:
        source: It is a source.
        foreign: It is a topic of other programs: a source that needs no stage of its own.
        sink: It is a sink.
        events: It is a sink that is a topic for other programs.
        cut: What it makes is kept: a model's answers.
        whole_stream: It is a stage of its own.
    """

    source: bool = False
    foreign: bool = False
    sink: bool = False
    events: bool = False
    cut: bool = False
    whole_stream: bool = False


class Why(StrEnum):
    """Why a topic lies on an edge, in words; of several reasons the one that stands first here."""

    FOREIGN = "other programs fill it"
    WHOLE_STREAM = "the node beside it has to see every document in one process"
    NAMED = "the graph names it"
    SOURCE = "what a source said is kept: everything behind it can be made anew without asking again"
    MODEL = "what a model made is kept: an index can be built anew without asking it again"
    MEETING = "ways meet here on which a model was asked: what it made is kept"
    SINKS = "there are several sinks: each reads at its own pace"


def cut_edges(graph: Graph, traits: Callable[[str], Traits]) -> list[Why | None]:
    """For each edge of the graph, in order: why a topic lies on it, or None where there is none.

    Around a topic of other programs and around a stage that has to be alone there always is one. Elsewhere an edge's
    own `topic` decides; without it, after every source, after what a model made, and before each sink where there are
    several. Between a branch or fan-out and where its ways meet again nothing is cut, since half a change must never
    be kept as if it were the whole: what would be cut there is cut behind the meeting point.

    Raises:
        GraphError: A source would run in one stage with another one, or with what a topic brings.
    """
    wiring = Wiring.of_graph(graph)
    inside = inside_diamonds(wiring).edges
    several_sinks = sum(traits(node.id).sink for node in graph.nodes) > 1
    asked = [
        graph.edges[place]
        for place in sorted(inside)
        if graph.edges[place].topic is None and traits(graph.edges[place].from_).cut
    ]
    meetings = {_meeting(wiring, edge) for edge in asked}

    def cut(place: int, edge: Edge) -> Why | None:
        origin, to = traits(edge.from_), traits(edge.to)
        reasons = {
            Why.FOREIGN: origin.foreign,
            Why.WHOLE_STREAM: origin.whole_stream or to.whole_stream,
            Why.NAMED: bool(edge.topic),
        }
        if edge.topic is None:
            reasons[Why.SOURCE] = origin.source
            if place not in inside:
                reasons |= {
                    Why.MODEL: origin.cut,
                    Why.MEETING: edge.from_ in meetings,
                    Why.SINKS: to.sink and several_sinks,
                }
        return next((why for why, holds in reasons.items() if holds), None)

    cuts = [cut(place, edge) for place, edge in enumerate(graph.edges)]
    _refuse_company(graph, cuts, [node.id for node in graph.nodes if traits(node.id).source])
    return cuts


def first(reasons: Sequence[Why]) -> Why:
    """The reason to give for a topic that lies on several edges."""
    return min(reasons, key=list(Why).index)


def _refuse_company(graph: Graph, cuts: Sequence[Why | None], sources: Sequence[str]) -> None:
    """A stage that runs a source reads nothing else: what it has passed over, and died of, is told by that source."""
    edges = list(zip(graph.edges, cuts, strict=True))
    beside: dict[str, list[str]] = defaultdict(list)
    for edge, why in edges:
        if why is None:
            beside[edge.from_].append(edge.to)
            beside[edge.to].append(edge.from_)
    company: dict[str, list[str]] = {}
    for source in sources:
        stage = _reachable(source, beside)
        entering = [edge.from_ for edge, why in edges if why is not None and edge.to in stage]
        company[source] = [*(one for one in sources if one in stage and one != source), *entering]
    faults = [
        graph.origin.fault(
            "NV1523",
            f'the source "{edge.from_}" would run in one stage with what comes from "{company[edge.from_][0]}"',
            f"/edges/{place}",
            'take "topic": false from this edge',
        )
        for place, (edge, why) in enumerate(edges)
        if why is None and company.get(edge.from_)
    ]
    if faults:
        raise GraphError(faults)


def _reachable(start: str, beside: Mapping[str, Sequence[str]]) -> set[str]:
    found, waiting = set[str](), [start]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += beside.get(node, ())
    return found


def _meeting(wiring: Wiring, edge: Edge) -> str:
    """Where the ways meet again, on one of which `edge` lies."""
    below = wiring.below([edge.to])
    return next(node for node in wiring.order if node in below and len(wiring.incoming(node)) > 1)
