"""Record sets for the tests of sinks and of what writes into them: the same text, the same record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from nvisy.connector.sink import Owner, Record, RecordSet, Vector
from nvisy.primitives.primitive import MetadataValue, content_hash, derive_id
from nvisy.primitives.provenance import Span, Version

DIMENSIONS = 8
MODEL = "test/hash@1"
LANE = "lane-of-a-test"
OWNER = Owner(graph="docs", log="log-1", model=MODEL, dimensions=DIMENSIONS)


def version(offset: int, inc: int = 1) -> int:
    """The number of a version, as large as real ones are."""
    return Version(inc, offset).number


def vector_of(text: str, dimensions: int = DIMENSIONS) -> Vector:
    """A unit vector that depends on the text alone: float32, shape (dimensions,)."""
    seed = int.from_bytes(content_hash(text).encode()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def make_record(
    text: str,
    *,
    key: str,
    lane: str = LANE,
    place: int = 0,
    metadata: Mapping[str, MetadataValue] | None = None,
    vector: Vector | None = None,
    dimensions: int = DIMENSIONS,
) -> Record:
    """One record; `place` is where its text starts in the document."""
    vector = vector_of(text, dimensions) if vector is None else vector
    metadata = metadata or {}
    span = Span(place, place + len(text))
    uri = f"file:///{key}"
    return Record(
        id=derive_id(lane, key, "embed", content_hash(text)),
        vector=vector,
        text=text,
        source_uri=uri,
        span=span,
        metadata=metadata,
        vector_hash=content_hash(vector.tobytes()),
        payload_hash=content_hash(text, uri, repr(span), repr(sorted(metadata.items()))),
        content_hash=content_hash(text),
        steps="text@1/chunk@2/embed@3",
        model=MODEL,
    )


def make_set(
    key: str,
    texts: Sequence[str] = (),
    *,
    offset: int = 1,
    lane: str = LANE,
    source: str = "files",
    metadata: Mapping[str, MetadataValue] | None = None,
    shift: int = 0,
    dimensions: int = DIMENSIONS,
) -> RecordSet:
    """A document of these passages in a row; `shift` characters were put in front of the first."""
    records, place = [], shift
    for text in texts:
        records.append(
            make_record(text, key=key, lane=lane, place=place, metadata=metadata, dimensions=dimensions)
        )
        place += len(text) + 1
    return set_of(key, records, offset=offset, lane=lane, source=source)


def set_of(
    key: str, records: Sequence[Record], *, offset: int = 1, lane: str = LANE, source: str = "files"
) -> RecordSet:
    """A document of these records."""
    return RecordSet(
        lane=lane,
        key=key,
        source=source,
        version=version(offset),
        digest=content_hash(*sorted(f"{r.id}{r.vector_hash}{r.payload_hash}" for r in records)),
        records=tuple(records),
        partition=3,
        run="run-1",
        observed_at_us=1_760_000_000_123_456,
        topic="docs.files",
    )


def with_vector(record_set: RecordSet, number: int, vector: Vector) -> RecordSet:
    """The same document, whose record `number` has another vector."""
    records = list(record_set.records)
    records[number] = replace(records[number], vector=vector, vector_hash=content_hash(vector.tobytes()))
    return replace(record_set, records=tuple(records), digest=content_hash(record_set.digest, str(number)))
