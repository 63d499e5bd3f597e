"""Places in a database's write-ahead log: a number to compare, a text to show."""

from __future__ import annotations


def lsn_of(text: str) -> int:
    """The number that `16/B374D848` stands for."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def shown(lsn: int) -> str:
    """As Postgres writes it, `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
