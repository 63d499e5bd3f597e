"""What travels inside a stage: a change, where it was read, and what went wrong with it, if anything did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Self

from nvisy.errors import Rejected
from nvisy.primitives.change import Change
from nvisy.topics.log import LogRecord, TopicPartition


class Ticket(NamedTuple):
    """Where a change was read: what is acknowledged once every terminal of the stage is done with it."""

    at: TopicPartition
    offset: int

    @classmethod
    def of(cls, record: LogRecord) -> Self:
        """Where a record stands."""
        return cls(record.at, record.offset)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a change cannot go on.

    Attributes:
        node: The node that refused it.
        kind: Class of the fault in one word.
        message: For people; holds no content of the document.
        retryable: Whether the same bytes may pass later.
        attempts: How often it was tried.
    """

    node: str
    kind: str
    message: str
    retryable: bool = False
    attempts: int = 1

    @classmethod
    def of(cls, node: str, error: Rejected) -> Self:
        """What a rejection comes to at a node, or at the topic that could not be read."""
        return cls(node, error.kind, str(error), error.retryable, error.attempts)


@dataclass(frozen=True, slots=True)
class Replay:
    """Marks a flight that was read before and failed, and is tried once more.

    Attributes:
        letter: Record key of its dead letter: the way on which it failed, and the only one it takes part in. Empty
            where it did not fail, and comes in again since somebody asked for it.
        entry: Which entry of that key. It goes on only while this one is open.
        place: Where the change was read the first time.
        size: Bytes of what was read there, which may be gone.
        sha256: Of these bytes.
    """

    letter: bytes
    entry: str
    place: Ticket
    size: int
    sha256: str


@dataclass(slots=True)
class Flight:
    """A change on its way through a stage.

    A failed change goes on to every terminal, past the steps, so that each path ends exactly once and no step needs a
    second way out.

    Attributes:
        change: The change, with the items it has at this point of the graph.
        ticket: Where it was read.
        raw: The bytes it was read from, for the dead letters.
        failure: Set by the step that refused it.
        replay: Set where a dead letter is tried again. Its ticket is then one of `replayed_at`.
    """

    change: Change
    ticket: Ticket
    raw: bytes = b""
    failure: Failure | None = None
    replay: Replay | None = None

    @property
    def place(self) -> Ticket:
        """Where the change stands in its topic."""
        return self.replay.place if self.replay else self.ticket

    def onward(self, change: Change) -> Flight:
        """The same flight with what a step made of its change."""
        return Flight(change, self.ticket, self.raw, None, self.replay)

    def failed(self, failure: Failure) -> Flight:
        """The same flight, refused."""
        return Flight(self.change, self.ticket, self.raw, failure, self.replay)


REPLAYED = -1
"""Stands for the partition of what is replayed, which is none: those tickets neither hold nor move a position."""


def replayed_at(inlet: str, number: int) -> Ticket:
    """A ticket for what comes in once more through an inlet."""
    return Ticket(TopicPartition(inlet, REPLAYED), number)
