"""Versions for the records of a topic that other programs fill: an incarnation, then the record's offset.

Offsets alone say nothing once the topic was made anew, or a key has moved to another partition because partitions were
added. So the stage remembers which topic it numbers, and up to where in it an incarnation reached.

Nobody says when partitions were added, and those who write learn of it one by one, for minutes. So there are three
stretches. What was read before somebody looked and found the former number of partitions is older than the growth
(`Certain`). What follows is numbered by its timestamps, for offsets of two partitions do not compare. Once every writer
has to know (`LATE_MS`), offsets count again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import orjson

from nvisy.primitives.provenance import OFFSET_BITS, Version
from nvisy.topics.log import LogRecord, TopicInfo, TopicPartition

LATE_MS = 600_000
"""So long after a growth was noticed keys may still go where they went: clients look every five minutes."""
SKEW_MS = 86_400_000
"""So much the clocks of those who write, or of the broker, may differ from ours. It costs nothing but fine grain."""

_TIMES = 1 << (OFFSET_BITS - 1)
"""So many places a stretch by time has; the others are for what would share one, or came later."""


@dataclass(frozen=True, slots=True)
class Certain:
    """Records of a topic that were written while it had so many partitions, for sure.

    Attributes:
        partitions: How many.
        at_ms: When it still had no more, UTC.
        ends: Where they end, by partition.
    """

    partitions: int
    at_ms: int
    ends: Mapping[int, int]

    def to_json(self) -> bytes:
        """To be remembered."""
        return orjson.dumps(self, option=orjson.OPT_NON_STR_KEYS)

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """What `to_json` wrote."""
        said = orjson.loads(value)
        return cls(said["partitions"], said["at_ms"], _by_partition(said["ends"]))


@dataclass(frozen=True, slots=True)
class ByTime:
    """A span of time in which timestamps are versions, UTC. What is before or after it counts as its edge."""

    since_ms: int
    until_ms: int

    def place(self, timestamp_ms: int) -> int:
        """Of a record in its stretch: never falls as time goes on, and fits where an offset does."""
        span_ms = self.until_ms - self.since_ms
        return min(max(timestamp_ms - self.since_ms, 0), span_ms) * _TIMES // span_ms


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a topic that has an incarnation of its own.

    Attributes:
        inc: The incarnation.
        by_time: Within it timestamps count; None where offsets do.
        ends: Where it ends, by partition; nowhere for the last one. It begins where the one before ends.
    """

    inc: int
    by_time: ByTime | None = None
    ends: Mapping[int, int] | None = None

    def holds(self, partition: int, offset: int) -> bool:
        """Whether a record that no stretch before this one holds is in it."""
        return self.ends is None or offset < self.ends.get(partition, 0)


@dataclass(frozen=True, slots=True)
class Numbering:
    """How one topic is numbered.

    Attributes:
        topic: Its name.
        topic_id: Its id.
        partitions: How many it had when it was looked at last.
        read_whole: The incarnation from which on the topic was read from its beginning.
        stretches: Its stretches, the last one of which has no end.
        again: From where, by partition, it is read again by whoever begins to read it: what is numbered by time has to
            come in one order. None once that has been read.
    """

    topic: str
    topic_id: str
    partitions: int
    read_whole: int
    stretches: tuple[Stretch, ...]
    again: Mapping[int, int] | None = None

    @classmethod
    def begun(cls, info: TopicInfo, inc: int) -> Self:
        """A topic that is read from its beginning, all of it with one incarnation."""
        return cls(info.name, info.id, info.partitions, inc, (Stretch(inc),))

    @property
    def inc(self) -> int:
        """The incarnation that records get now."""
        return self.stretches[-1].inc

    def is_open(self, now_ms: int) -> bool:
        """Whether some who write may not know yet how many partitions there are."""
        by_time = self.stretches[-1].by_time
        return by_time is not None and now_ms < by_time.until_ms - SKEW_MS

    @property
    def is_by_time(self) -> bool:
        """Whether timestamps count for what is written now."""
        return self.stretches[-1].by_time is not None

    def grown(self, info: TopicInfo, certain: Certain | None, now_ms: int) -> Self:
        """Partitions were added at some time since it was certain that there were none."""
        if certain is None or certain.partitions != self.partitions:
            certain = Certain(self.partitions, 0, {})
        since_ms, ends = min(certain.at_ms, now_ms) - SKEW_MS, certain.ends
        by_time = ByTime(since_ms, now_ms + LATE_MS + SKEW_MS)
        again = self.again if self.again is not None else ends
        return replace(self._followed(by_time, ends), partitions=info.partitions, again=again)

    def read_from(self, positions: Mapping[int, int]) -> Self:
        """It is read from here. If that is before what is numbered by time, none of that has been read in order."""
        ends = self.stretches[0].ends or {}
        is_ahead = any(position < ends.get(partition, 0) for partition, position in positions.items())
        return replace(self, again=ends) if is_ahead else self

    def settled(self, info: TopicInfo) -> Self:
        """Every writer knows the partitions: what follows is newer than what there is, and stays in its partition."""
        return self._followed(None, dict(info.end))

    def read_again(self) -> Self:
        """What is numbered by time has been read in order; unless more of it may come."""
        return self if self.is_by_time else replace(self, again=None)

    def raised(self, at_least: int) -> Self:
        """The same order of records in higher incarnations, to be read from the beginning."""
        first = max(self.inc + 1, at_least)
        by = first - self.stretches[0].inc
        stretches = tuple(replace(one, inc=one.inc + by) for one in self.stretches)
        return replace(self, read_whole=first, stretches=stretches)

    def version(self, record: LogRecord) -> Version:
        """The version of a record, where no other one shares its place in time; see `Versions`."""
        stretch = self._of(record)
        if stretch.by_time is None:
            return Version(stretch.inc, record.offset)
        return Version(stretch.inc, stretch.by_time.place(record.timestamp_ms))

    def turn(self, record: LogRecord) -> Version:
        """What does not fall when records are read in an order in which no older version of a key follows a newer."""
        stretch = self._of(record)
        return Version(stretch.inc, stretch.by_time.place(record.timestamp_ms) if stretch.by_time else 0)

    def tells_offset(self, version: Version) -> bool:
        """Whether the version of a record says where it stands in its partition."""
        return all(one.by_time is None for one in self.stretches if one.inc == version.inc)

    def to_be_ordered(self, info: TopicInfo) -> Mapping[TopicPartition, int]:
        """Up to where its partitions have to be read in turn."""
        if len(self.stretches) == 1:
            return {}
        ends = info.end if self.is_by_time else self.stretches[-2].ends or {}
        return {TopicPartition(self.topic, partition): end for partition, end in ends.items()}

    def begins_again(self, info: TopicInfo) -> Mapping[TopicPartition, int]:
        """Where reading begins again, if it does."""
        if self.again is None:
            return {}
        return {
            TopicPartition(self.topic, partition): max(start, self.again.get(partition, 0))
            for partition, start in info.start.items()
        }

    def to_json(self) -> bytes:
        """To be remembered."""
        return orjson.dumps(self, option=orjson.OPT_NON_STR_KEYS)

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """What `to_json` wrote."""
        said: dict[str, Any] = orjson.loads(value)
        stretches = tuple(_stretch(**one) for one in said.pop("stretches"))
        return cls(**{**said, "again": _by_partition(said["again"])}, stretches=stretches)

    def _followed(self, by_time: ByTime | None, ends: Mapping[int, int]) -> Self:
        """The last stretch ends here, and another one follows."""
        *before, last = self.stretches
        stretches = (*before, replace(last, ends=ends), Stretch(last.inc + 1, by_time))
        return replace(self, stretches=stretches)

    def _of(self, record: LogRecord) -> Stretch:
        return next(one for one in self.stretches if one.holds(record.partition, record.offset))


class Versions:
    """Gives records their versions as they are read, partition by partition from the beginning of a stretch by time.

    Within a partition the later record has the higher version, also where both were written within one millisecond or
    the clock went back.
    """

    def __init__(self, numbering: Numbering) -> None:
        self._numbering = numbering
        self._last: dict[int, tuple[int, Version]] = {}

    def of(self, record: LogRecord) -> Version:
        """The version of a record."""
        version = self._numbering.version(record)
        offset, before = self._last.get(record.partition, (-1, Version(0, 0)))
        if record.offset <= offset:
            return before if record.offset == offset else version
        if version <= before:
            version = Version(before.inc, before.off + 1)
        self._last[record.partition] = record.offset, version
        return version


def numbering_of(
    info: TopicInfo, before: Numbering | None, at_least: int, certain: Certain | None, now_ms: int
) -> Numbering:
    """How a topic is numbered as it is now.

    Args:
        info: The topic.
        before: How it was numbered last; None if it never was.
        at_least: The incarnation asked for. A higher one than before, and the topic is read from its beginning.
        certain: What of it was older than any growth that `before` does not know of, if that is known.
        now_ms: The time, UTC.
    """
    if before is None:
        return Numbering.begun(info, max(1, at_least))
    if before.topic_id != info.id or before.partitions > info.partitions:
        return Numbering.begun(info, max(before.inc + 1, at_least))
    numbering = before
    if info.partitions > before.partitions:
        numbering = before.grown(info, certain, now_ms)
    elif before.is_by_time and not before.is_open(now_ms):
        numbering = before.settled(info)
    return numbering.raised(at_least) if at_least > before.inc else numbering


def _stretch(inc: int, by_time: Any, ends: Any) -> Stretch:
    return Stretch(inc, ByTime(**by_time) if by_time is not None else None, _by_partition(ends))


def _by_partition(said: Any) -> Any:
    """Numbers by partition, whose names JSON has made text of."""
    return {int(partition): number for partition, number in said.items()} if said is not None else None
