"""What a collection looks like in every store: names of its parts, and the fields of a record.

`docs/index-layout.md` describes it for those who query a store; they change together, with `FORMAT`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from nvisy.connector.sink import HeldHead, Hit, RecordSet
from nvisy.primitives.provenance import Span

FORMAT = 1
"""Version of the layout, kept in every marker. A collection of another one is refused."""

LINEAGE = (
    "lane",
    "source",
    "version",
    "content_hash",
    "steps",
    "model",
    "run",
    "observed_at",
    "topic",
    "partition",
)
"""Nvisy's own fields of a record, as `Hit.lineage` names them."""

READABLE = ("id", "key", "source_uri", "text", "span_start", "span_end", "metadata", *LINEAGE)
"""Every field of a record but its vector, which is `embedding`."""


HEAD = ("lane", "key", "source", "version", "digest", "ids")
"""The fields of a head that say what the collection holds of a key."""


def physical_name(collection: str, *, create: bool, generation: int = 1) -> str:
    """Name of what holds the records: the user's own collection, or a generation of one of ours."""
    return f"{collection}__{generation}" if create else collection


def generation_of(physical: str) -> int:
    """The number of a generation, given the name of what holds its records."""
    return int(physical.rpartition("__")[2])


def heads_name(physical: str) -> str:
    """Name of the collection that holds one head per key."""
    return f"{physical}__heads"


def observed_at(record_set: RecordSet) -> str | None:
    """When the source saw the set, as ISO 8601 in UTC, or None where that is not known."""
    micros = record_set.observed_at_us
    if not micros:
        return None
    seconds, rest = divmod(micros, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"


def encode_ids(record_set: RecordSet) -> str:
    """The part of a head that says which records a key consists of: `{id: [vector hash, payload hash]}`."""
    return orjson.dumps({r.id: [r.vector_hash, r.payload_hash] for r in record_set.records}).decode()


def held_head(row: Sequence[Any]) -> HeldHead:
    """A head as read back: the values of `HEAD`, in that order."""
    lane, key, source, version, digest, ids = row
    hashes = {name: (vector, payload) for name, (vector, payload) in orjson.loads(ids or "{}").items()}
    return HeldHead(lane or "", key or "", source or "", version or 0, digest or "", hashes)


def span_of(start: int | None, end: int | None) -> Span | None:
    """The span in two columns, put together again."""
    return None if start is None or end is None else Span(start, end)


def hit(row: dict[str, Any], score: float | None) -> Hit:
    """A record as read back: `row` holds the fields of `READABLE`, the metadata decoded."""
    return Hit(
        id=str(row["id"]),
        key=row["key"] or "",
        source_uri=row["source_uri"] or "",
        text=row["text"] or "",
        span=span_of(row["span_start"], row["span_end"]),
        score=score,
        metadata=row["metadata"] or {},
        lineage={name: row[name] for name in LINEAGE},
    )
