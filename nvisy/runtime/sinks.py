"""Taking a sink over: prove that it can be reached, make or verify its collection, become its writer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.connector.sink import Owner, Sink, Writer
from nvisy.errors import Refused
from nvisy.graph.validate import CheckedGraph
from nvisy.runtime.stamps import Stamping


@dataclass(frozen=True, slots=True)
class OpenSink:
    """A sink that was taken over.

    Attributes:
        collection: The collection's own id: another one than last time means that it was made anew.
        stamping: Tells whether the collection, or the log, is an older copy.
    """

    node: str
    descriptor: SinkDescriptor
    writer: Writer
    collection: str
    stamping: Stamping


def open_sink(
    checked: CheckedGraph, node: str, state: Path, generation: int = 1
) -> tuple[SinkDescriptor, Sink]:
    """The sink of a node, to write this generation of its collection; connects to nothing yet."""
    found = checked.nodes[node]
    assert isinstance(found.descriptor, SinkDescriptor)
    return found.descriptor, found.descriptor.open(found.params, checked.context(node, state, generation))


def serving(checked: CheckedGraph, node: str, state: Path) -> int:
    """The generation of a sink node's collection that readers see, or will see first."""
    _, sink = open_sink(checked, node, state)
    if not sink.capabilities.generations:
        return 1
    try:
        return sink.current() or 1
    except Refused:  # a user's own collection has but one
        return 1


def take_over(
    checked: CheckedGraph,
    node: str,
    log_id: str,
    state: Path,
    *,
    token: int,
    slot: int,
    adopt: bool,
    generation: int | None = None,
) -> OpenSink:
    """Create or verify the collection of a sink node, and become its writer with this fence token.

    Of the generation that readers see, unless another one is named.

    Raises:
        Unreachable: It does not answer.
        Refused: The collection belongs to another graph, or to another log and is not to be adopted.
        Fatal: Its vectors are of another model or have other dimensions.
    """
    descriptor, sink = open_sink(checked, node, state, generation or serving(checked, node, state))
    shape = checked.nodes[node].incoming
    assert shape is not None
    sink.check()
    owner = Owner(checked.graph.id, log_id, shape.model, shape.dimensions)
    collection = sink.prepare(owner, adopt=adopt)
    writer = sink.open(token)
    return OpenSink(node, descriptor, writer, collection, Stamping(checked.graph.id, node, slot, writer))
