"""The reading thread: what it reads comes out in order, and what it dies of is never taken for the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import pytest

from nvisy.errors import Refused
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.reading import ReadingThread, TopicReader
from nvisy.topics.log import LogRecord, TopicPartition

AT = TopicPartition("t", 0)


class Scripted:
    """Yields one flight a read, then ends, or raises."""

    def __init__(self, count: int, error: Exception | None = None) -> None:
        self._left = count
        self._error = error
        self._next = 0
        self.paused = 0
        self.closed = False

    def read(self, *, paused: bool) -> Sequence[Flight]:
        if paused:
            self.paused += 1
            return ()
        if not self._left:
            raise self._error or AssertionError("read past its end")
        self._left -= 1
        self._next += 1
        return [Flight(Change(Provenance("s", f"k{self._next}")), Ticket(AT, self._next))]

    @property
    def ended(self) -> bool:
        return not self._left and self._error is None

    def close(self) -> None:
        self.closed = True


def drain(thread: ReadingThread) -> list[int]:
    offsets: list[int] = []
    until = time.monotonic() + 10
    while time.monotonic() < until:
        batch = thread.take(0.01)
        offsets += [flight.ticket.offset for flight in batch]
        if not batch and thread.ended:
            return offsets
    raise AssertionError("it did not end")


def test_everything_comes_out_in_order_and_then_it_ends() -> None:
    reader = Scripted(20)
    thread = ReadingThread(reader, AckTracker(), lambda _flight: 1)
    thread.start()
    assert drain(thread) == list(range(1, 21))
    thread.join()
    assert reader.closed


def test_when_the_first_record_was_read_is_noted_once() -> None:
    counters = StageCounters()
    before_us = time.time_ns() // 1000
    thread = ReadingThread(Scripted(3), AckTracker(), lambda _flight: 1, counters=counters)
    thread.start()
    first = thread.take(10.0)
    read_at_us = counters.first_read_at_us
    assert first
    assert before_us <= read_at_us <= time.time_ns() // 1000
    drain(thread)
    assert counters.first_read_at_us == read_at_us


@pytest.mark.parametrize("count", [0, 1, 5])
def test_what_it_dies_of_is_raised_and_is_no_end(count: int) -> None:
    thread = ReadingThread(Scripted(count, Refused("no")), AckTracker(), lambda _flight: 1)
    thread.start()
    thread.join()
    with pytest.raises(Refused, match="no"):
        drain(thread)


def test_reading_pauses_while_the_credit_is_used_up() -> None:
    tracker = AckTracker(max_changes=2)
    reader = Scripted(5)
    thread = ReadingThread(reader, tracker, lambda _flight: 1)
    thread.start()
    got = [flight.ticket for _ in range(2) for flight in thread.take(1.0)]
    until = time.monotonic() + 5
    while reader.paused < 3 and time.monotonic() < until:
        time.sleep(0.01)
    assert reader.paused >= 3
    assert thread.take(0.05) == ()
    for ticket in got:
        tracker.done(ticket)
    assert [flight.ticket.offset for flight in thread.take(1.0)] == [3]
    thread.stop()
    thread.join()


class Quiet:
    """A session that has read everything below offset 5 in an earlier life."""

    def poll(self, limit: int, timeout_s: float, *, paused: bool = False) -> Sequence[LogRecord]:
        return ()

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        return all(end <= 5 for end in ends.values())


@pytest.mark.parametrize(("end", "is_complete"), [(5, True), (6, False)])
def test_a_topic_that_was_read_in_an_earlier_life_is_complete_without_being_read(
    end: int, *, is_complete: bool
) -> None:
    assert TopicReader(Quiet(), {}, until={AT: end}).complete is is_complete
