"""Finds the change that ends the process of its stage, or hangs it, and sends it to the dead letters.

A process that dies cannot say of what, so the state of a stage remembers where every life began. Where three in a row
began at the same place, the next records of that partition are let through one at a time, and each is marked in the
state before anybody looks at it, its decoder included. The mark rides in the commit that acknowledges the record
before, so it costs nothing. Whoever finds a mark and knows that a process died under it has found the culprit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import orjson

from nvisy.runtime.flight import Failure
from nvisy.runtime.memory import Memory, Values
from nvisy.topics.log import TopicPartition

KIND = "poison"
LIVES = 3
"""So many lives may begin at one place before its records are let through one at a time."""
SIGHTINGS = 2
"""A mark that was found so often is believed, although nobody saw the process die: all died together."""
SUSPECTS = 10_000
"""Records of a partition that can have been in flight at a death: after so many it is trusted again."""

_PREFIX = "deaths/"


@dataclass(frozen=True, slots=True)
class Life:
    """How a life of a stage began and ended before this one.

    Attributes:
        number: Which life under its supervisor this one is, from 1.
        died_of: What ended the one before, where that did not end by itself: a signal, or that it hung.
    """

    number: int = 1
    died_of: str = ""

    @property
    def counts(self) -> bool:
        """Whether the one before may have died; one that said why it ended has not."""
        return bool(self.died_of) or self.number == 1


@dataclass(frozen=True, slots=True)
class Case:
    """What the state says of one partition.

    Attributes:
        position: Where the last life began to read it.
        lives: How many lives in a row began there.
        mark: Offset of the record that was let through alone, last.
        sightings: How many lives found that mark.
    """

    position: int
    lives: int = 0
    mark: int | None = None
    sightings: int = 0

    def begun(self, position: int, life: Life) -> Case:
        """The case after one more life began at `position`."""
        marked = self.mark is not None and self.mark >= position
        return Case(
            position,
            (self.lives if self.position == position else 0) + life.counts,
            self.mark if marked else None,
            self.sightings + marked,
        )

    def is_solved(self, life: Life) -> bool:
        """Whether the marked record is at fault."""
        return self.mark is not None and (bool(life.died_of) or self.sightings >= SIGHTINGS)


class Cases:
    """What a stage remembers of the deaths of its processes, by partition of its input."""

    def __init__(
        self, memory: Memory, config: str, positions: Mapping[TopicPartition, int], life: Life
    ) -> None:
        """Begin a life at these positions. It is noted durably."""
        self._memory = memory
        self._config = config
        self._cases = {
            at: (self._stored(at) or Case(position)).begun(position, life)
            for at, position in positions.items()
        }
        self.guilty: Mapping[TopicPartition, int] = {
            at: case.mark
            for at, case in self._cases.items()
            if case.mark is not None and case.is_solved(life)
        }
        if self._cases:
            memory.remember(self._values(self._cases))

    def suspected(self, ends: Callable[[], Mapping[TopicPartition, int]]) -> Mapping[TopicPartition, int]:
        """Partitions whose next records may be poison, and the offset at which each is trusted again.

        `ends` is asked where the topics end, if that matters: where nothing is left to read, nothing is suspected.
        """
        found = {at: case for at, case in self._cases.items() if case.lives >= LIVES or case.mark is not None}
        if not found:
            return {}
        end = ends()
        return {
            at: min(case.position + SUSPECTS, end[at])
            for at, case in found.items()
            if case.position < end.get(at, 0)
        }

    def marking(self, at: TopicPartition, offset: int) -> Values:
        """From now on this record is let through alone."""
        case = self._cases[at]
        if case.mark != offset:
            case = self._cases[at] = replace(case, mark=offset, sightings=0)
        return self._values({at: case})

    def solved(self) -> Values:
        """The guilty are out of the way: every count begins anew, with this life."""
        self._cases = {
            at: Case(self.guilty[at] + 1 if at in self.guilty else case.position, lives=1)
            for at, case in self._cases.items()
        }
        return self._values(self._cases)

    def closed(self) -> Values:
        """The process ends in order."""
        return {name: None for at in self._cases if (name := _name(at)) in self._memory.values}

    def _stored(self, at: TopicPartition) -> Case | None:
        raw = self._memory.values.get(_name(at))
        if raw is None:
            return None
        said = orjson.loads(raw)
        return Case(**said) if said.pop("config") == self._config else None

    def _values(self, cases: Mapping[TopicPartition, Case]) -> Values:
        return {
            _name(at): orjson.dumps({"config": self._config, **asdict(case)}) for at, case in cases.items()
        }


def _name(at: TopicPartition) -> str:
    return f"{_PREFIX}{at.topic}/{at.partition}"


def verdict(node: str, life: Life) -> Failure:
    """Why a change that ended its process is not tried again."""
    how = life.died_of or "it died"
    message = (
        f"the process of {node} ended {LIVES} times while it was in flight, the last time while it was there alone: "
        f"{how}"
    )
    return Failure(node, KIND, message, retryable=True, attempts=LIVES)
