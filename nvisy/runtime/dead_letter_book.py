"""The book that a stage keeps of its dead letters: an entry when a change fails, its end when the key passes.

Where a replayed change leaves the stage, the book says whether it may still be written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from nvisy.primitives.provenance import Version
from nvisy.runtime import dead_letters
from nvisy.runtime.dead_letters import OpenEntry
from nvisy.runtime.flight import Flight, Replay
from nvisy.topics.log import Append, Log


class DeadLetterBook:
    """The open dead letters of one stage, and what its changes leave in them. Used by its writing thread.

    Attributes:
        open: The entries that are open now, by record key.
    """

    def __init__(self, graph: str, stage: str, partitions: int, open_now: dict[bytes, OpenEntry]) -> None:
        self._graph = graph
        self._stage = stage
        self._partitions = partitions
        self.open = open_now

    @classmethod
    def read(cls, log: Log, graph: str, stage: str, partitions: int) -> Self:
        """The book of a stage as it stands in the log; its topic has so many partitions."""
        return cls(graph, stage, partitions, dead_letters.open_of_stage(log, graph, stage))

    def read_again(self, log: Log) -> None:
        """Take in what other copies of the stage have written since."""
        self.open = dead_letters.open_of_stage(log, self._graph, self._stage)

    def failed(self, outlet: str, flight: Flight) -> Append:
        """The entry of a failed flight."""
        record = dead_letters.entry(self._graph, self._stage, outlet, flight, self._partitions)
        self.open[record.key] = dead_letters.as_open(record)
        return record

    def passed(self, outlet: str, flight: Flight) -> Append | None:
        """The tombstone of the entry that this flight puts an end to, if there is one."""
        key = dead_letters.entry_key(self._stage, outlet, flight) if self.open else b""
        found = self.open.get(key)
        version = flight.change.origin.version
        if found is None or (version is not None and version.number < found.version):
            return None
        had_one = Version.of(found.version).inc > 0  # what could not be decoded did not say
        is_newer = had_one and version is not None and version.number > found.version
        return self.close(key, "superseded" if is_newer and not flight.replay else "resolved")

    def entries(self, outlet: str, flights: Sequence[Flight]) -> list[Append]:
        """What these flights leave in the book, in their order: of two versions of a key the later decides."""
        written = (
            self.failed(outlet, flight) if flight.failure else self.passed(outlet, flight)
            for flight in flights
        )
        return [record for record in written if record is not None]

    def due(self, outlet: str, flights: Sequence[Flight]) -> Sequence[Flight]:
        """`flights` without the replayed ones that have nothing left to do here.

        Flights of a key come in the order in which they were read. So a replayed one whose entry is still open when it
        gets here has been overtaken by no newer version of its key, and may be written like any other.
        """
        if not any(flight.replay for flight in flights):
            return flights
        due: list[Flight] = []
        passed: set[bytes] = set()
        for flight in flights:
            key = dead_letters.entry_key(self._stage, outlet, flight)
            letter = flight.replay if flight.replay is not None and flight.replay.letter else None
            if letter is None or (key not in passed and self._may_replay(key, letter)):
                due.append(flight)
                passed.add(key)
        return due

    def is_open(self, key: bytes, entry: str) -> bool:
        """Whether this very entry of a key is open."""
        found = self.open.get(key)
        return found is not None and found.entry == entry

    def failed_keys(self) -> list[bytes]:
        """Message keys, `<source>/<key>`, of what is open."""
        return [key.split(b"/", 2)[2] for key in tuple(self.open)]

    def outdated(self, source: str, epoch: int) -> list[Append]:
        """Tombstones for what is older than a full pass over its source that is through: that sent what there is."""
        keys = [
            key
            for key, found in tuple(self.open.items())
            if key.split(b"/", 3)[2].decode("utf-8", "replace") == source
            and 0 < Version.of(found.version).inc < epoch
        ]
        return [self.close(key, "superseded") for key in keys]

    def close(self, key: bytes, reason: str) -> Append:
        """The tombstone of an open entry."""
        self.open.pop(key, None)
        return dead_letters.closing(self._graph, key, reason, self._partitions)

    def _may_replay(self, key: bytes, replay: Replay) -> bool:
        return key == replay.letter and self.is_open(key, replay.entry)
