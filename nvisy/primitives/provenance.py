"""Where a primitive comes from: one object, shared by everything that one version of one document became."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

OFFSET_BITS = 36
"""Bits of `Version.number` that hold the offset: 131,072 incarnations of 68 billion changes fit in 2^53."""


class Version(NamedTuple):
    """When a key was changed: the life of its origin topic, then the offset in it. Compares as a tuple.

    Attributes:
        inc: The incarnation: rises whenever offsets would start again or the source was restored.
        off: Offset of the change in its origin topic.
    """

    inc: int
    off: int

    @property
    def number(self) -> int:
        """The version as one integer below 2^53, for stores that compare floats."""
        return (self.inc << OFFSET_BITS) | self.off

    @classmethod
    def of(cls, number: int) -> Version:
        """The version that `number` stands for."""
        return cls(number >> OFFSET_BITS, number & ((1 << OFFSET_BITS) - 1))


class Span(NamedTuple):
    """A piece of the extracted text, in characters: `text[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """The origin of a primitive.

    Attributes:
        source: Id of the source node.
        key: What the source calls the document.
        uri: Where a person finds it, `file:///…`, `kafka://topic/…`.
        version: Incarnation and offset in the origin topic; None until the change is in a log.
        partition: Partition of the origin topic.
        observed_at_us: When the source saw this version, microseconds since the epoch, UTC.
        run: Id of the run that read it.
        topic: The origin topic, or empty where a graph has none.
    """

    source: str
    key: str
    uri: str = ""
    version: Version | None = None
    partition: int = 0
    observed_at_us: int = 0
    run: str = ""
    topic: str = ""
