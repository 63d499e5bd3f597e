"""Opening a sink: prove that it can be reached, make or verify its collection, take it over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.connector.sink import Owner, Sink
from nvisy.graph.validate import CheckedGraph
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.outlets import Patience, SinkOutlet


@dataclass(frozen=True, slots=True)
class OpenSink:
    """A sink whose collection is ready.

    Attributes:
        collection: The collection's own id: another one than last time means that it was made anew.
    """

    node: str
    descriptor: SinkDescriptor
    sink: Sink
    collection: str


def open_sink(checked: CheckedGraph, node: str, state: Path) -> tuple[SinkDescriptor, Sink]:
    """The sink of a node; connects to nothing yet."""
    found = checked.nodes[node]
    assert isinstance(found.descriptor, SinkDescriptor)
    return found.descriptor, found.descriptor.open(found.params, checked.context(node, state))


def prepare(checked: CheckedGraph, node: str, log_id: str, state: Path) -> OpenSink:
    """Create or verify the collection of a sink node.

    Raises:
        Unreachable: It does not answer.
        Refused: The collection belongs to another graph or log.
        Fatal: Its vectors are of another model or have other dimensions.
    """
    descriptor, sink = open_sink(checked, node, state)
    shape = checked.nodes[node].incoming
    assert shape is not None
    sink.check()
    collection = sink.prepare(Owner(checked.graph.id, log_id, shape.model, shape.dimensions))
    return OpenSink(node, descriptor, sink, collection)


def open_outlet(
    sink: OpenSink, graph: str, token: int, patience: Patience, counters: StageCounters
) -> SinkOutlet:
    """Take a prepared sink over, as the owner with this fence token."""
    writer = sink.sink.open(token)
    return SinkOutlet(sink.node, graph, writer, sink.descriptor.capabilities, patience, counters)
