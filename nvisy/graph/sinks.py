"""What a sink is asked before anything runs: whether it can keep what arrives, delete what goes, and share a place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from nvisy.connector.descriptor import SinkDescriptor, SourceDescriptor
from nvisy.connector.shape import Shape
from nvisy.graph.model import ActionNode
from nvisy.graph.parameters import TypedNode
from nvisy.graph.wiring import Wiring

EVERYTHING = "*"
"""What a sink says that it accepts when it takes every primitive, a user's own too."""

_TO_VECTORS: Mapping[str, Sequence[str]] = {
    "raw Document": ("extract", "chunk", "embed"),
    "Document": ("chunk", "embed"),
    "Chunk": ("embed",),
}
"""What it takes to make vectors of a primitive."""
_EXAMPLES: Mapping[str, str] = {
    "extract": '{"id": "text", "type": "action", "action": "extract"}',
    "chunk": '{"id": "chunk", "type": "action", "action": "chunk"}',
    "embed": '{"id": "embed", "type": "action", "action": "embed", "params": {"model": "local/wordllama"}}',
}


class Said(NamedTuple):
    """A fault of a sink, without its place."""

    code: str
    message: str
    hint: str


class Sinks:
    """Checks the sinks of one graph, one after the other.

    Attributes:
        idle: Ids of nodes without edges that a hint tells to put to use.
    """

    def __init__(self, nodes: Mapping[str, TypedNode], wiring: Wiring) -> None:
        self.idle: set[str] = set()
        self._nodes = nodes
        self._wiring = wiring
        self._places: dict[Any, tuple[str, Shape]] = {}

    def faults(self, typed: TypedNode, incoming: Shape | None) -> Iterator[Said]:
        """What is wrong with a sink; `incoming` None: it is not known what arrives."""
        sink = typed.descriptor
        assert isinstance(sink, SinkDescriptor)
        able, name = sink.capabilities, typed.node.id
        if not able.deletes:
            for source in self._deleting_sources(name):
                message = f'"{name}" cannot delete, but documents of "{source}" may go away'
                yield Said("NV1304", message, "use a sink that can, or the index would keep what is gone")
        if incoming is None:
            return
        if not {incoming.primitive.type, EVERYTHING} & able.accepts:
            yield self._untaken(name, sink, incoming)
        if able.max_dimensions is not None and incoming.dimensions > able.max_dimensions:
            longest = f"{sink.name} takes up to {able.max_dimensions}"
            message = f"vectors of {incoming.dimensions} dimensions are too long: {longest}"
            yield Said("NV1305", message, "use a model with fewer dimensions")
        if typed.whole:
            yield from self._shared(typed, sink, incoming)

    def _untaken(self, name: str, sink: SinkDescriptor, incoming: Shape) -> Said:
        """What the sink says to a primitive that it does not keep, and what is missing on the way to it."""
        accepts = sink.capabilities.accepts
        givers = [self._wiring.edges[place].from_ for place in self._wiring.incoming(name)]
        giver = " and ".join(f'"{one}"' for one in dict.fromkeys(givers))
        steps = _TO_VECTORS.get(str(incoming), ()) if "Embedding" in accepts else ()
        if not steps:
            takes = " or ".join(sorted(accepts))
            message = f'"{name}" cannot take {incoming}, which comes from {giver}'
            return Said("NV1303", message, f"it takes {takes}")
        what = "bytes" if incoming.raw else f"{incoming}s"
        message = f'"{name}" keeps vectors, and {giver} gives it {what}: nothing between them makes vectors of those'
        return Said("NV1303", message, self._put_between(steps))

    def _put_between(self, steps: Sequence[str]) -> str:
        idle = [
            node.id
            for node in self._wiring.nodes.values()
            if isinstance(node, ActionNode) and node.action in steps and self._is_idle(node.id)
        ]
        if idle:
            self.idle.update(idle)
            named = " and ".join(f'"{one}"' for one in idle)
            verb = "has" if len(idle) == 1 else "have"
            return f"{named} {verb} no edges: lead the way through"
        first, *others = steps
        behind = f", with `{'` and `'.join(others)}` behind it" if others else ""
        article = "an" if first[0] in "ae" else "a"
        return f"put {article} `{first}` node between them{behind}: {_EXAMPLES[first]}"

    def _is_idle(self, node_id: str) -> bool:
        return not self._wiring.incoming(node_id) and not self._wiring.outgoing(node_id)

    def _deleting_sources(self, sink: str) -> Iterator[str]:
        above = self._wiring.above([sink])
        for node_id, typed in self._nodes.items():
            source = typed.descriptor
            if node_id in above and isinstance(source, SourceDescriptor) and source.capabilities.deletes:
                yield node_id

    def _shared(self, typed: TypedNode, sink: SinkDescriptor, incoming: Shape) -> Iterator[Said]:
        if sink.place is None:
            return
        place = (sink.name, sink.place(typed.params))
        former, shape = self._places.setdefault(place, (typed.node.id, incoming))
        if (shape.model, shape.dimensions) != (incoming.model, incoming.dimensions):
            message = f'"{typed.node.id}" and "{former}" put {incoming} and {shape} into one collection'
            yield Said("NV1306", message, "give each its own collection")
