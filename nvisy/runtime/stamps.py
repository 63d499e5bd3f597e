"""Marks in a collection how far a stage has written into it, so that an older copy of the one or the other shows.

The stamp is an empty record set in a lane of its own. It rises by one with every commit: first in the collection, in
the same call as the records, then in the stage's state. So the collection is level with the state or one ahead of it.
Further back, it was put back from an older copy; further ahead, the log was.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nvisy.connector.sink import RecordSet, Writer
from nvisy.primitives.primitive import content_hash
from nvisy.primitives.provenance import Version
from nvisy.runtime.memory import Memory, Values, stamped
from nvisy.runtime.records import lane_of


class Stamping:
    """The stamp of one sink node, in the collection and in the state."""

    def __init__(self, graph: str, sink: str, slot: int, writer: Writer) -> None:
        """Read what the collection bears."""
        self.lane = lane_of(graph, sink, "")
        self.sink = sink
        self._name = f"{sink}/{slot}"
        self._key = str(slot)
        self._writer = writer
        self.found = self._found(self._key)
        self._inc = self.found.inc
        self._next = 1
        self._written: Version | None = None

    def index_is_older(self, memory: Memory) -> bool:
        """The collection lacks what a copy of the stage has committed: every copy has to begin anew then.

        The stamps of the others are looked up after the state was read, since they go on rising.
        """
        others = (name for name in memory.stamps(self.sink) if name != self._name)
        return self.found.off < memory.stamp(self._name).off or any(
            self._found(name.rpartition("/")[2]).off < memory.stamp(name).off for name in others
        )

    def log_is_older(self, memory: Memory) -> bool:
        """The collection holds more than the stage knows of."""
        return self.found.off > memory.stamp(self._name).off + 1

    def idle_are_ahead(self, memory: Memory, running: Collection[int]) -> int:
        """The same for copies that do not run now: the highest incarnation that the stage knows nothing of, or 0."""
        stamps = {name: self._found(name.rpartition("/")[2]) for name in self._idle(memory, running)}
        ahead = [found.inc for name, found in stamps.items() if found.off > memory.stamp(name).off + 1]
        return max(ahead, default=0)

    def open(self, memory: Memory) -> None:
        """Begin a life, with a stamp of its own: go on from what the state says, or the collection if that is further.

        Without that one a life of a single commit would end one ahead of the state, like one that was killed, and a log
        put back to where it began would not be noticed.
        """
        self._next = (self.found if self.log_is_older(memory) else memory.stamp(self._name)).off + 1
        self._writer.apply([self.of(())])
        memory.remember(self.state())
        self.committed()

    def _found(self, slot: str) -> Version:
        return Version.of(self._writer.head(self.lane, slot) or 0)

    def level(self, memory: Memory, running: Collection[int]) -> None:
        """Other copies do not run now: what their stamps had to say has been heard, and is not said again."""
        levelled: dict[str, bytes | None] = {}
        for name in self._idle(memory, running):
            if (found := self._found(name.rpartition("/")[2])) != memory.stamp(name):
                levelled |= stamped(name, found)
        if levelled:
            memory.remember(levelled)

    def _idle(self, memory: Memory, running: Collection[int]) -> list[str]:
        return [name for name in memory.stamps(self.sink) if int(name.rpartition("/")[2]) not in running]

    def of(self, sets: Sequence[RecordSet]) -> RecordSet:
        """The stamp to apply together with these sets; the same until it is committed."""
        self._inc = max([self._inc, *(Version.of(one.version).inc for one in sets)])
        self._written = Version(self._inc, self._next)
        number = self._written.number
        return RecordSet(self.lane, self._key, "", number, content_hash(str(number)), ())

    def state(self) -> Values:
        """What to commit: the stamp that was written since the last commit, if one was."""
        return stamped(self._name, self._written) if self._written is not None else {}

    def committed(self) -> None:
        """What `state` said is committed."""
        if self._written is not None:
            self._next, self._written = self._written.off + 1, None
