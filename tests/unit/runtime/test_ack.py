"""What may be committed, and when reading has to wait."""

from __future__ import annotations

import random

from nvisy.runtime.ack import AckTracker
from nvisy.runtime.flight import Ticket
from nvisy.topics.log import TopicPartition

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)


def test_nothing_above_the_lowest_unfinished_change_is_committed() -> None:
    tracker = AckTracker()
    for offset in (3, 4, 7):
        tracker.register(Ticket(P0, offset), 1, 10)
    tracker.done(Ticket(P0, 4))
    tracker.done(Ticket(P0, 7))
    assert tracker.positions() == {}
    tracker.done(Ticket(P0, 3))
    assert tracker.positions() == {P0: 8}


def test_a_change_is_through_when_every_terminal_is() -> None:
    tracker = AckTracker()
    tracker.register(Ticket(P0, 0), 2, 10)
    assert tracker.done(Ticket(P0, 0)) is False
    assert tracker.positions() == {}
    assert tracker.done(Ticket(P0, 0)) is True
    assert tracker.positions() == {P0: 1}
    assert tracker.idle


def test_partitions_move_on_by_themselves() -> None:
    tracker = AckTracker()
    tracker.register(Ticket(P0, 0), 1, 1)
    tracker.register(Ticket(P1, 5), 1, 1)
    tracker.done(Ticket(P1, 5))
    assert tracker.positions() == {P1: 6}


def test_reading_waits_for_bytes_and_for_changes() -> None:
    by_bytes = AckTracker(max_bytes=100)
    by_bytes.register(Ticket(P0, 0), 1, 100)
    assert by_bytes.full
    by_bytes.done(Ticket(P0, 0))
    assert not by_bytes.full
    by_count = AckTracker(max_changes=1)
    by_count.register(Ticket(P0, 0), 1, 1)
    assert by_count.full


def test_in_any_order_of_completion_the_position_is_the_lowest_open_offset() -> None:
    rng = random.Random(7)
    for _ in range(50):
        tracker = AckTracker()
        offsets = sorted(rng.sample(range(100), 20))
        for offset in offsets:
            tracker.register(Ticket(P0, offset), 1, 1)
        done: set[int] = set()
        for offset in rng.sample(offsets, len(offsets)):
            tracker.done(Ticket(P0, offset))
            done.add(offset)
            passed = [one for one in offsets if all(lower in done for lower in offsets if lower <= one)]
            assert tracker.positions() == ({P0: passed[-1] + 1} if passed else {})
