"""From a change to what a sink stores: the records of one key, named and hashed so that nothing is written twice."""

from __future__ import annotations

import orjson

from nvisy.connector.sink import Record, RecordSet
from nvisy.primitives.change import Change
from nvisy.primitives.embedding import Embedding
from nvisy.primitives.primitive import MetadataValue, Primitive, content_hash, derive_id
from nvisy.primitives.provenance import Span


def lane_of(graph: str, sink: str, source: str) -> str:
    """Names what one sink node of a graph holds of one source: 16 hexadecimal digits."""
    return content_hash(graph, sink, source)[:16]


def record_set(change: Change, lane: str, node: str) -> RecordSet:
    """The records that `change`, whose items are embeddings, leaves in the sink `node`; none for a delete."""
    origin = change.origin
    records = tuple(_record(item, lane, node) for item in change.items)
    parts = sorted(
        f"{item.id}{r.payload_hash}{r.vector_hash}" for item, r in zip(change.items, records, strict=True)
    )
    return RecordSet(
        lane=lane,
        key=origin.key,
        source=origin.source,
        version=origin.version.number if origin.version else 0,
        digest=content_hash(*parts) if records else "",
        records=records,
        partition=origin.partition,
        run=origin.run,
        observed_at_us=origin.observed_at_us,
        topic=origin.topic,
    )


def payload_hash(
    text: str, span: Span | None, uri: str, metadata: dict[str, MetadataValue], steps: str
) -> str:
    """Hash of what a record says beside its vector: a head has it of each of its records."""
    return content_hash(text, repr(span), uri, orjson.dumps(metadata, option=orjson.OPT_SORT_KEYS), steps)


def _record(item: Primitive, lane: str, node: str) -> Record:
    assert isinstance(item, Embedding), f"the graph check lets only embeddings reach {node}"
    uri = item.provenance.uri if item.provenance else ""
    return Record(
        id=derive_id(lane, item.id),
        vector=item.vector,
        text=item.text,
        source_uri=uri,
        span=item.span,
        metadata=item.metadata,
        vector_hash=content_hash(item.vector.tobytes()),
        payload_hash=payload_hash(item.text, item.span, uri, item.metadata, item.steps),
        content_hash=item.content_hash,
        steps=item.steps,
        model=item.model,
    )
