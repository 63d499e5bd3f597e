"""Versions for the records of a topic that other programs fill: an incarnation, then the record's offset.

Offsets alone say nothing once the topic was made anew, or a key has moved to another partition because partitions were
added. So the stage remembers which topic it numbers, and up to where in it an incarnation reached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import orjson

from nvisy.primitives.provenance import Version
from nvisy.topics.log import TopicInfo, TopicPartition


@dataclass(frozen=True, slots=True)
class Numbering:
    """How one topic is numbered.

    Attributes:
        topic: Its name.
        topic_id: Its id.
        partitions: How many it had when it was looked at last.
        inc: The incarnation that records get now.
        read_whole: The incarnation from which on the topic was read from its beginning.
        bounds: Earlier incarnations, each with where it ended in the partitions there were.
    """

    topic: str
    topic_id: str
    partitions: int
    inc: int
    read_whole: int
    bounds: tuple[tuple[int, Mapping[int, int]], ...] = ()

    @classmethod
    def begun(cls, info: TopicInfo, inc: int) -> Self:
        """A topic that is read from its beginning, all of it with one incarnation."""
        return cls(info.name, info.id, info.partitions, inc, inc)

    def grown(self, info: TopicInfo) -> Self:
        """Partitions were added: what follows in any of them is newer than what stood in the former ones."""
        ends = {partition: end for partition, end in info.end.items() if partition < self.partitions}
        bounds = (*self.bounds, (self.inc, ends))
        return replace(self, partitions=info.partitions, inc=self.inc + 1, bounds=bounds)

    def version(self, partition: int, offset: int) -> Version:
        """The version of the record at this place."""
        for inc, ends in self.bounds:
            if offset < ends.get(partition, 0):
                return Version(inc, offset)
        return Version(self.inc, offset)

    def to_be_drained(self) -> Mapping[TopicPartition, int]:
        """Where the former partitions have to be read up to before the added ones may be."""
        if not self.bounds:
            return {}
        return {TopicPartition(self.topic, partition): end for partition, end in self.bounds[-1][1].items()}

    def to_json(self) -> bytes:
        """To be remembered."""
        return orjson.dumps(self, option=orjson.OPT_NON_STR_KEYS)

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """What `to_json` wrote."""
        said: dict[str, Any] = orjson.loads(value)
        bounds = tuple((inc, {int(p): end for p, end in ends.items()}) for inc, ends in said.pop("bounds"))
        return cls(**said, bounds=bounds)


def numbering_of(info: TopicInfo, before: Numbering | None, at_least: int) -> Numbering:
    """How a topic is numbered as it is now.

    Args:
        info: The topic.
        before: How it was numbered last; None if it never was.
        at_least: The incarnation asked for. A higher one than before, and the topic is read from its beginning.
    """
    if before is None:
        return Numbering.begun(info, max(1, at_least))
    if before.topic_id != info.id or before.partitions > info.partitions or at_least > before.inc:
        return Numbering.begun(info, max(before.inc + 1, at_least))
    return before.grown(info) if info.partitions > before.partitions else before
