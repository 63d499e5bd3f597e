"""How a stage reads and writes its topics: the codec, and a decoder for each inlet."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType

from nvisy.catalog import Catalog
from nvisy.codec.blobs import Blobs
from nvisy.codec.codec import Codec
from nvisy.codec.faults import undecodable
from nvisy.codec.registry import open_registry
from nvisy.errors import CodecError
from nvisy.graph.hashing import graph_hash
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Inlet
from nvisy.primitives import PrimitiveTypes
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.foreign import EventsOutlet, ForeignDecoder
from nvisy.runtime.numbering import Numbering
from nvisy.runtime.reading import Decoder
from nvisy.runtime.settings import Settings
from nvisy.topics.log import LogRecord, Session


class ChangeDecoder:
    """Decodes the topics of a graph."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def decode(self, record: LogRecord, had: Version | None = None) -> Change:
        """The change in a record, which says its version; a tombstone, left by a clean-up, is a delete."""
        if record.value is None:
            source, _, key = (record.key or b"").decode().partition("/")
            version = Version(0, record.offset)
            return Change(Provenance(source, key, version=version, partition=record.partition), "delete")
        try:
            return self._codec.decode_change(
                record.value,
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                headers=record.headers,
            )
        except CodecError as error:
            raise undecodable(error) from error

    def unknown(self, record: LogRecord) -> Change:
        """Stands for a record whose change cannot be told, under the key it has in a topic of the graph."""
        source, _, key = (record.key or b"").decode("utf-8", "replace").partition("/")
        version = Version(0, record.offset)
        return Change(
            Provenance(source, key or source, version=version, partition=record.partition, topic=record.topic)
        )


class OfSources:
    """Decodes a topic of a graph that had other sources once: what those have left in it is deleted."""

    def __init__(self, decoder: Decoder, sources: Collection[str]) -> None:
        """`sources`: those that the graph has now."""
        self._decoder = decoder
        self._sources = sources

    def decode(self, record: LogRecord, had: Version | None = None) -> Change:
        """See `nvisy.runtime.reading.Decoder`."""
        change = self._decoder.decode(record, had)
        return change if change.origin.source in self._sources else replace(change, op="delete", items=())

    def unknown(self, record: LogRecord) -> Change:
        """See `nvisy.runtime.reading.Decoder`."""
        return self._decoder.unknown(record)


def open_codec(catalog: Catalog, settings: Settings) -> Codec:
    """The codec for the log that `settings` name, with the installed primitives.

    Raises:
        UsageError: The settings of the registry or of the blobs make no sense.
    """
    # Next to the embedded log large values may lie in a folder; a Kafka cluster needs one that all hosts reach.
    default = settings.state / "blobs" if settings.log_url is None else None
    types = PrimitiveTypes(catalog.all("primitive"))
    registry = open_registry(settings.environ, settings.state)
    return Codec(registry, types, blobs=Blobs.open(settings.environ, default))


class Codecs:
    """The codec of a stage, and what decodes each of its inlets."""

    def __init__(
        self,
        checked: CheckedGraph,
        settings: Settings,
        *,
        run: str = "",
        forgotten: Mapping[str, frozenset[str]] = MappingProxyType({}),
    ) -> None:
        """`forgotten`: by source node, the keys whose documents are to stay away."""
        self._checked = checked
        self._run = run
        self.forgotten = forgotten
        self.codec = open_codec(checked.catalog, settings)
        self.changes = ChangeDecoder(self.codec)

    def decoder(self, inlet: Inlet, numbering: Numbering | None = None) -> Decoder:
        """What turns the records of an inlet into changes; `numbering` is that of a topic of other programs."""
        if inlet.kind != "foreign":
            return self.changes
        checked = self._checked
        assert numbering is not None
        return ForeignDecoder(
            inlet.node,
            checked.nodes[inlet.node].params,
            self.codec,
            numbering,
            graph=graph_hash(checked.graph),
            run=self._run,
            partitions=checked.graph.log.partitions,
            forgotten=self.forgotten.get(inlet.node, frozenset()),
        )

    def events_outlet(
        self, node: str, session: Session, partitions: int, counters: NodeCounters
    ) -> EventsOutlet:
        """The outlet of a `topic` sink."""
        return EventsOutlet(node, self._checked.nodes[node].params, session, self.codec, partitions, counters)
