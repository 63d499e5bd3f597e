"""Documents compressed with gzip (`README.gz`), expanded within limits."""

import zlib

from nvisy.errors import Rejected
from nvisy.text.extract.extracted import MAX_CONTENT_BYTES, MAX_RATIO, check_expansion

MAGIC = b"\x1f\x8b\x08"
_STEP = 2**20


def expand(content: bytes) -> bytes:
    """The bytes inside a gzip file, of one member or several.

    Raises:
        Rejected: `corrupt`, `too_large` or `bomb`.
    """
    out = bytearray()
    rest = content
    try:
        while rest.startswith(MAGIC):
            member = zlib.decompressobj(wbits=31)
            while not member.eof and rest:
                out += member.decompress(rest, _STEP)
                rest = member.unconsumed_tail
                check_expansion(len(out), len(content), "the gzip file")
            if not member.eof:
                raise Rejected("the gzip file ends too early; it is cut off, fetch it again", kind="corrupt")
            rest = member.unused_data
    except zlib.error:
        raise Rejected(
            "the gzip file is damaged and cannot be expanded; fetch it again", kind="corrupt"
        ) from None
    return bytes(out)


def peek(head: bytes) -> bytes:
    """The first expanded bytes of a gzip file, from its first bytes; empty if they are damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, min(MAX_CONTENT_BYTES, len(head) * MAX_RATIO))
    except zlib.error:
        return b""
