"""Paths that break off before a sink, and paths that begin without a source: once for each edge that is missing."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from nvisy.errors import Fault
from nvisy.graph.model import Edge, SinkNode, SourceNode
from nvisy.graph.parse import Draft
from nvisy.graph.wiring import Wiring, mended


def reach_faults(draft: Draft, wiring: Wiring, spared: Collection[str] = ()) -> Iterator[Fault]:
    """Nodes that nothing leads to, and nodes that lead nowhere; of `spared` ones another fault speaks.

    An edge that is missing leaves a path that breaks off and one that begins from nowhere: that is one fault. Where an
    edge leads to a node that does not exist, that is why a path breaks off, and nothing more is said.
    """
    if draft.nameless or draft.loose:
        return
    ends = _Ends.of(draft, wiring)
    tails = [tail for tail in ends.tails if tail not in spared]
    for head in ends.heads:
        if head in spared:
            continue
        tail = _before(head, tails, wiring.index)
        if tail is not None:
            tails.remove(tail)
            hint = f'is an edge missing? {{"from": "{tail}", "to": "{head}"}}'
            if any((edge.from_, edge.to) == (head, tail) for edge in draft.edges.values()):
                hint = f'is the edge from "{head}" to "{tail}" the wrong way round?'
        elif head in ends.drained:
            hint = "add an edge to it, or remove it"
        else:
            hint = "add edges to it and from it, or remove it"
        yield draft.origin.fault(
            "NV1507", f'no source leads to "{head}"', f"/nodes/{wiring.index[head]}", hint
        )
    for tail in tails:
        if tail in ends.fed:
            hint = "add an edge from it, or remove it"
            pointer = f"/nodes/{wiring.index[tail]}"
            yield draft.origin.fault("NV1508", f'"{tail}" leads to no sink', pointer, hint)


@dataclass(frozen=True, slots=True)
class _Ends:
    """Where the paths of a graph end.

    Attributes:
        fed: Nodes that something of a source can reach, or of a node that could not be read.
        drained: Nodes from which something can reach a sink, or a node that could not be read.
        tails: Nodes after which a path breaks off.
        heads: Nodes at which a path begins without a source.
    """

    fed: frozenset[str]
    drained: frozenset[str]
    tails: tuple[str, ...]
    heads: tuple[str, ...]

    @classmethod
    def of(cls, draft: Draft, wiring: Wiring) -> _Ends:
        nodes = wiring.nodes
        known = {*nodes, *draft.lost}
        edges = [mended(edge, known) for edge in draft.edges.values()]
        fed = wiring.below({*_ids(wiring, SourceNode), *(e.to for e in edges if e.from_ not in nodes)})
        drained = wiring.above({*_ids(wiring, SinkNode), *(e.from_ for e in edges if e.to not in nodes)})
        tails = set(nodes) - drained - {edge.from_ for edge in edges}
        heads = set(nodes) - fed - {edge.to for edge in edges}
        return cls(
            frozenset(fed),
            frozenset(drained),
            tuple(n for n in nodes if n in tails) if _may_lack(edges, known, wiring, SinkNode) else (),
            tuple(n for n in nodes if n in heads) if _may_lack(edges, known, wiring, SourceNode) else (),
        )


def _ids(wiring: Wiring, kind: type[SourceNode | SinkNode]) -> set[str]:
    return {node.id for node in wiring.nodes.values() if isinstance(node, kind)}


def _may_lack(
    edges: Collection[Edge], known: Collection[str], wiring: Wiring, kind: type[SourceNode | SinkNode]
) -> bool:
    """Whether the graph has such a node, and no edge that may have been meant to lead there."""
    lost = [edge for edge in edges if (edge.to if kind is SourceNode else edge.from_) not in known]
    return bool(_ids(wiring, kind)) and not lost


def _before(head: str, tails: Collection[str], places: Mapping[str, int]) -> str | None:
    """The loose end that most likely leads to `head`: the last that stands before it in the file."""
    others = [tail for tail in tails if tail != head]
    before = [tail for tail in others if places[tail] < places[head]]
    return before[-1] if before else next(iter(others), None)
