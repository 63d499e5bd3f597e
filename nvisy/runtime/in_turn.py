"""Reads the partitions of a topic whose keys have moved between them in turn, as the records were written.

Versions alone would see to it that an index ends up right. But of the records of a key that a stage writes, compaction
leaves the last one, and that has to be the newest.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence

from nvisy.primitives.provenance import Version
from nvisy.runtime.numbering import Numbering
from nvisy.runtime.reading import PolledByPartition
from nvisy.topics.log import LogRecord, TopicPartition

HELD_BYTES = 4 << 20
"""So much of a partition may wait for others before no more of it is fetched."""


class InTurn:
    """Lets records of some topics through in turn, up to given ends, and all others as they come."""

    def __init__(
        self,
        session: PolledByPartition,
        numberings: Mapping[str, Numbering],
        until: Mapping[TopicPartition, int],
    ) -> None:
        """Read what stands in the partitions of `until` below these offsets in the order that its numbering says."""
        self._session = session
        self._numberings = numberings
        self._until = until
        self._waiting: dict[str, dict[int, deque[LogRecord]]] = defaultdict(dict)
        self._bytes: dict[TopicPartition, int] = defaultdict(int)
        for topic, partition in until:
            self._waiting[topic][partition] = deque()

    def poll(self, limit: int, timeout_s: float, *, paused: bool = False) -> Sequence[LogRecord]:
        """Those whose turn it is."""
        if not self._waiting:
            return self._session.poll(limit, timeout_s, paused=paused)
        held = [at for at, n_bytes in self._bytes.items() if n_bytes >= HELD_BYTES]
        polled = self._session.poll(limit, timeout_s, paused=paused, held=held)
        ready = [record for record in polled if not self._waits(record)]
        if not paused:
            for topic in tuple(self._waiting):
                ready += self._released(topic)
        return ready

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether all below `ends` was let through."""
        return not any(self._bytes.values()) and self._session.caught_up(ends)

    def _waits(self, record: LogRecord) -> bool:
        if record.topic not in self._waiting:
            return False
        self._waiting[record.topic].setdefault(record.partition, deque()).append(record)
        self._bytes[record.at] += _size(record)
        return True

    def _released(self, topic: str) -> list[LogRecord]:
        """What can have nothing before it, until a partition is empty that is not read to its end."""
        waiting, released = self._waiting[topic], []
        if any(not records and not self._is_through(topic, one) for one, records in waiting.items()):
            return []
        heads = [(self._turn(records[0]), partition) for partition, records in waiting.items() if records]
        heapq.heapify(heads)
        while heads:
            _, partition = heapq.heappop(heads)
            record = waiting[partition].popleft()
            self._bytes[record.at] -= _size(record)
            released.append(record)
            if waiting[partition]:
                heapq.heappush(heads, (self._turn(waiting[partition][0]), partition))
            elif not self._is_through(topic, partition):
                return released
        del self._waiting[topic]
        return released

    def _turn(self, record: LogRecord) -> Version:
        return self._numberings[record.topic].turn(record)

    def _is_through(self, topic: str, partition: int) -> bool:
        at = TopicPartition(topic, partition)
        return self._session.caught_up({at: self._until.get(at, 0)})


def _size(record: LogRecord) -> int:
    return len(record.value or b"") + 256
