"""Records as the rows of a binary COPY, in Postgres' own format: what a set's records share is written once.

The driver would look for a dumper for each value of each row, which takes three times as long as all the rest. Formats:
https://www.postgresql.org/docs/current/sql-copy.html, and pgvector's `vector_send`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from nvisy.connector.sink import Record, RecordSet
from nvisy_vector._plan import Step

COLUMNS = (
    *("id", "embedding", "text", "source_uri", "span_start", "span_end", "metadata"),
    *("content_hash", "steps", "model"),
    *("key", "lane", "source", "version", "run", "observed_at", "topic", "partition"),
)
"""In the order in which they are copied: those of a record, then those of its set."""

START = b"PGCOPY\n\xff\r\n\0" + bytes(8)
"""What a copy begins with: a signature, no flags, no extension."""

END = b"\xff\xff"

_EPOCH_US = 946_684_800_000_000  # 2000-01-01, from where Postgres counts
_NULL = b"\xff\xff\xff\xff"
_length = struct.Struct("!i").pack
_integer = struct.Struct("!ii").pack
_long = struct.Struct("!iq").pack
_vector_head = struct.Struct("!ihh").pack
_ROW = struct.pack("!h", len(COLUMNS)) + _length(16)


def rows(step: Step) -> Iterator[bytes]:
    """The rows of the records that a step writes: whole, or without the vector that the store has already."""
    shared = _of_set(step.record_set)
    for records, whole in ((step.vectors, True), (step.payloads, False)):
        for record in records:
            yield _of_record(record, whole=whole) + shared


def _of_record(record: Record, *, whole: bool) -> bytes:
    start, end = map(_number, record.span) if record.span else (_NULL, _NULL)
    return b"".join(
        (
            _ROW,
            bytes.fromhex(record.id.replace("-", "")),
            _vector(record.vector) if whole else _NULL,
            _text(record.text),
            _text(record.source_uri),
            start,
            end,
            _jsonb(record.metadata),
            _text(record.content_hash),
            _text(record.steps),
            _text(record.model),
        )
    )


def _of_set(record_set: RecordSet) -> bytes:
    micros = record_set.observed_at_us
    texts = (record_set.key, record_set.lane, record_set.source)
    return b"".join(
        (
            *map(_text, texts),
            _long(8, record_set.version),
            _text(record_set.run),
            _long(8, micros - _EPOCH_US) if micros else _NULL,
            _text(record_set.topic),
            _number(record_set.partition),
        )
    )


def _vector(vector: Any) -> bytes:
    numbers: Sequence[Any] = vector
    return _vector_head(4 + 4 * len(numbers), len(numbers), 0) + bytes(vector.astype(">f4").tobytes())


def _text(text: str | None) -> bytes:
    if text is None:
        return _NULL
    data = text.encode()
    return _length(len(data)) + data


def _jsonb(metadata: Mapping[str, Any]) -> bytes:
    data = orjson.dumps(metadata if isinstance(metadata, dict) else dict(metadata))
    return _length(len(data) + 1) + b"\x01" + data


def _number(number: int) -> bytes:
    return _integer(4, number)
