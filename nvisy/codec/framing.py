"""The Confluent wire format: which schema a message was written with, and where its body starts."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from nvisy.errors import CodecError

SchemaRef = int | UUID
"""How a message names its schema: by number, or by GUID."""

HEADER = "__value_schema_id"
"""The record header that may carry the frame instead of the value."""

_ID_END = 5
_GUID_END = 17


def frame(schema_id: int) -> bytes:
    """What stands before a body written with schema `schema_id`: a zero byte and the number, big-endian."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def unframe(value: bytes, headers: Iterable[tuple[str, bytes]] = ()) -> tuple[SchemaRef, int]:
    """The schema that `value` was written with, and the index at which its body starts.

    Args:
        value: A record's value.
        headers: The record's headers: a frame there says that the value is all body.

    Raises:
        CodecError: There is no frame.
    """
    for name, data in headers:
        if name == HEADER:
            return _parse(data)[0], 0
    return _parse(value)


def _parse(data: bytes) -> tuple[SchemaRef, int]:
    magic = data[0] if data else -1
    if magic == 0 and len(data) >= _ID_END:
        return int.from_bytes(data[1:_ID_END], "big"), _ID_END
    if magic == 1 and len(data) >= _GUID_END:
        return UUID(bytes=bytes(data[1:_GUID_END])), _GUID_END
    raise CodecError(
        f"not Avro in Confluent's wire format: {len(data)} bytes that start with {data[:1].hex() or 'nothing'}, "
        "not with 00 and a schema id"
    )
