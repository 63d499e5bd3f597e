"""Which partition a key belongs to: murmur2 as Java's client computes it, so that writers agree."""

from __future__ import annotations

import struct

_WORDS = struct.Struct("<I")
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit hash of Kafka's Java client, as an unsigned number."""
    h = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for (k,) in _WORDS.iter_unpack(data[:whole]):
        k = (k * _M) & _MASK  # noqa: PLW2901 - the mixing steps of one word
        k ^= k >> 24  # noqa: PLW2901
        h = ((h * _M) & _MASK) ^ ((k * _M) & _MASK)
    tail = data[whole:]
    if tail:
        h = ((h ^ int.from_bytes(tail, "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """Partition of `key` among `partitions`."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
