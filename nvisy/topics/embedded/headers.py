"""Headers of a record as the bytes of one column: per header the lengths of name and value, then both."""

from __future__ import annotations

import struct

from nvisy.topics.log import Headers

_LENGTHS = struct.Struct("<HI")


def pack(headers: Headers) -> bytes | None:
    """Headers as bytes, None for none."""
    if not headers:
        return None
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (_LENGTHS.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


def unpack(packed: bytes | None) -> Headers:
    """What `pack` made of them."""
    if packed is None:
        return ()
    headers: list[tuple[str, bytes]] = []
    at = 0
    while at < len(packed):
        name_length, value_length = _LENGTHS.unpack_from(packed, at)
        middle = at + _LENGTHS.size + name_length
        at = middle + value_length
        headers.append((packed[middle - name_length : middle].decode(), packed[middle:at]))
    return tuple(headers)
