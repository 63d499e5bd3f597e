"""Looks out for partitions that are added to topics of other programs, and for the time when all who write know them.

Nobody says when partitions are added. But what had been committed when a look was due, and the look then found no more
of them, is older than any growth that is noticed later. That is remembered with the next commit.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from nvisy.errors import DealtAnew, Unreachable
from nvisy.runtime.memory import Values, is_certain
from nvisy.runtime.numbering import Certain, Numbering
from nvisy.topics.log import Log, TopicPartition

LOOK_S = 5.0


class Lookout:
    """Used by the writing thread of a stage."""

    def __init__(
        self, log: Log, numberings: Mapping[str, Numbering], positions: Mapping[TopicPartition, int]
    ) -> None:
        """Begin at these positions: the topics were just looked at, and are numbered as they are."""
        self._log = log
        self._numberings = numberings
        self._positions = dict(positions)
        self._certain = {name: self._now(name) for name in numberings}
        self._due = dict(self._certain)
        self._next = time.monotonic() + LOOK_S

    def look(self) -> None:
        """Now and then.

        Raises:
            DealtAnew: A topic that has grown can be numbered by offsets again, once the stage begins anew.
        """
        if not self._numberings or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LOOK_S
        for name, numbering in self._numberings.items():
            self._look_at(name, numbering)

    def state(self) -> Values:
        """What to remember with the next commit."""
        values: dict[str, bytes | None] = {}
        for name, certain in self._due.items():
            values |= is_certain(name, certain)
        return values

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        """Everything below these positions is through, and what `state` said is remembered."""
        self._positions.update(positions)
        self._due = {}

    def _look_at(self, name: str, numbering: Numbering) -> None:
        # What was committed a look ago, so that brokers had time to agree on how many partitions there are.
        before, self._certain[name] = self._certain[name], self._now(name)
        try:
            info = self._log.describe(name)
        except Unreachable:
            return  # whoever reads it will say so
        if info is not None and info.partitions == numbering.partitions and before != self._certain[name]:
            self._due[name] = before
        if numbering.is_by_time and not numbering.is_open(_now_ms()):
            raise DealtAnew(
                f"topic {name!r} has had its {numbering.partitions} partitions for a while: what was written since"
                " they were added is read again in its order"
            )

    def _now(self, name: str) -> Certain:
        ends = {at.partition: position for at, position in self._positions.items() if at.topic == name}
        return Certain(self._numberings[name].partitions, _now_ms(), ends)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
