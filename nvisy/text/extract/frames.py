"""What the reader process and its parent say to each other, over two pipes.

A frame, in both directions, is a 4-byte big-endian length, that many bytes of JSON, and as many bytes of
payload as the JSON's `length` says. Requests are `{"format", "options", "length"}` with the document; replies are
`{"metadata", "length"}` with the text, or `{"kind", "message", "length": 0}`.
"""

import json
import struct
from typing import IO, Any


def send(stream: IO[bytes], header: dict[str, Any], payload: bytes = b"") -> None:
    """Write one frame."""
    head = json.dumps(header | {"length": len(payload)}).encode()
    stream.write(struct.pack(">I", len(head)) + head)
    stream.write(payload)
    stream.flush()


def receive(stream: IO[bytes]) -> tuple[dict[str, Any], bytes] | None:
    """Read one frame, None at the end of the stream or in the middle of a frame that is cut off."""
    size = stream.read(4)
    if len(size) < 4:
        return None
    head = stream.read(struct.unpack(">I", size)[0])
    try:
        header = json.loads(head)
    except ValueError:
        return None
    payload = stream.read(header["length"])
    return (header, payload) if len(payload) == header["length"] else None
