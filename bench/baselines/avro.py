"""The records of the loops over Kafka: documents, and documents with their chunks and vectors."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import fastavro

DOCUMENT = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Article",
        "fields": [{"name": "id", "type": "string"}, {"name": "text", "type": "string"}],
    }
)
_CHUNK_FIELDS = [
    {"name": "text", "type": "string"},
    {"name": "start", "type": "int"},
    {"name": "end", "type": "int"},
    {"name": "vector", "type": "bytes"},
]
CHUNK = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Passage",
        "fields": [{"name": "id", "type": "string"}, {"name": "document", "type": "string"}, *_CHUNK_FIELDS],
    }
)
CHUNKED = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Chunked",
        "fields": [
            {"name": "id", "type": "string"},
            {
                "name": "chunks",
                "type": {
                    "type": "array",
                    "items": {"type": "record", "name": "Chunk", "fields": _CHUNK_FIELDS},
                },
            },
        ],
    }
)
HEAD_BYTES = 5
"""Of Confluent's wire format: a zero byte and the number of the schema."""


def encode(schema: Any, datum: dict[str, Any], schema_id: int = 1) -> bytes:
    """A record in Confluent's wire format."""
    out = BytesIO()
    out.write(b"\x00" + schema_id.to_bytes(4, "big"))
    fastavro.schemaless_writer(out, schema, datum)
    return out.getvalue()


def decode(schema: Any, value: bytes) -> Any:
    """The datum of such a record."""
    source = BytesIO(value)
    source.seek(HEAD_BYTES)
    return fastavro.schemaless_reader(source, schema, None)
