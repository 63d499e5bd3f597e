"""Diamonds: ways that part and meet again.

What parts at a branch, a fan-out or any node with several edges, and meets again, is joined by its place in the topic
before: each change arrives by every way, and the join waits for all of them. That stays possible as long as nothing
within renumbers the changes, so a topic within is a fault, and so is a step that compares documents with each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from nvisy.connector.descriptor import ActionDescriptor
from nvisy.errors import Fault
from nvisy.graph.model import Edge, SourceNode
from nvisy.graph.parameters import TypedNode
from nvisy.graph.parse import Draft
from nvisy.graph.wiring import Wiring


@dataclass(frozen=True, slots=True)
class Inside:
    """What lies within diamonds: places of edges in the graph, and ids of nodes."""

    edges: frozenset[int]
    nodes: frozenset[str]


def inside_diamonds(wiring: Wiring) -> Inside:
    """Edges and nodes that some, but not all, of the ways from a source to a join go through."""
    edges: set[int] = set()
    nodes: set[str] = set()
    joins = [node_id for node_id in wiring.order if len(wiring.incoming(node_id)) > 1]
    sources = [node_id for node_id in wiring.order if isinstance(wiring.nodes[node_id], SourceNode)]
    giving = list(wiring.edges.values())
    for source in sources:
        ways_to = _ways(source, wiring.order, [(edge.from_, edge.to) for edge in giving])
        for join in joins:
            ways_on = _ways(join, wiring.order[::-1], [(edge.to, edge.from_) for edge in giving])
            every = ways_to[join]
            nodes |= {node_id for node_id in wiring.order if 0 < ways_to[node_id] * ways_on[node_id] < every}
            edges |= {
                place for place, edge in wiring.edges.items() if 0 < _through(edge, ways_to, ways_on) < every
            }
    return Inside(frozenset(edges), frozenset(nodes))


def diamond_faults(draft: Draft, wiring: Wiring, typed: Mapping[str, TypedNode]) -> Iterator[Fault]:
    """Topics and comparisons between a parting and its join."""
    inside = inside_diamonds(wiring)
    for place in sorted(inside.edges):
        if wiring.edges[place].topic:
            message = f'the topic "{wiring.edges[place].topic}" lies between ways that part and meet again'
            hint = "name the edge before they part, or after they meet"
            yield draft.origin.fault("NV1512", message, f"/edges/{place}/topic", hint)
    for node_id in sorted(inside.nodes & typed.keys()):
        descriptor = typed[node_id].descriptor
        if isinstance(descriptor, ActionDescriptor) and descriptor.whole_stream:
            message = f'"{node_id}" compares documents between ways that part and meet again'
            hint = "put it before they part, or after they meet"
            yield draft.origin.fault("NV1513", message, f"/nodes/{wiring.index[node_id]}", hint)


def _through(edge: Edge, ways_to: Counter[str], ways_on: Counter[str]) -> int:
    return ways_to[edge.from_] * ways_on[edge.to]


def _ways(start: str, order: tuple[str, ...], steps: list[tuple[str, str]]) -> Counter[str]:
    """In how many ways each node can be reached from `start`; `order` has it before what it reaches."""
    ways = Counter({start: 1})
    for here in order:
        for giver, taker in steps:
            if giver == here:
                ways[taker] += ways[here]
    return ways
