"""What the sources of a graph keep for it on their own side, for `nvisy status`."""

from __future__ import annotations

from collections.abc import Mapping

from nvisy.connector.descriptor import Fact, SourceDescriptor
from nvisy.errors import NvisyError
from nvisy.graph.validate import CheckedGraph
from nvisy.runtime.settings import Settings


def source_health(checked: CheckedGraph, settings: Settings) -> Mapping[str, Mapping[str, Fact]]:
    """Facts by source node, of those that have any to tell; one that cannot be asked says why under `error`."""
    found: dict[str, Mapping[str, Fact]] = {}
    for node_id, node in checked.nodes.items():
        descriptor = node.descriptor
        if not isinstance(descriptor, SourceDescriptor) or descriptor.health is None:
            continue
        try:
            facts = descriptor.health(node.params, checked.context(node_id, settings.state))
        except NvisyError as error:
            facts = {"error": str(error)}
        if facts:
            found[node_id] = facts
    return found
