"""What counts as a hang, and what as waiting."""

from __future__ import annotations

import pytest

from nvisy.runtime import watchdog
from nvisy.runtime.watchdog import Activity, Watchdog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog, "time", clock)
    return clock


def test_a_stage_that_reports_no_movement_for_long_hangs(clock: Clock) -> None:
    dog = Watchdog(hang_s=2.0)
    dog.heard(moving=True)
    barked = []
    for _ in range(4):
        clock.now += 0.9
        dog.heard(moving=False)
        barked.append(dog.has_barked())
    assert barked == [False, False, True, True]


def test_a_stage_that_stops_reporting_hangs(clock: Clock) -> None:
    dog = Watchdog(hang_s=1.5)
    dog.heard(moving=True)
    for _ in range(2):
        clock.now += 1.0
        barked = dog.has_barked()
    assert barked


def test_a_stage_that_still_opens_what_it_needs_does_not_hang(clock: Clock) -> None:
    dog = Watchdog(hang_s=1.5)
    for _ in range(10):
        clock.now += 1.0
        assert not dog.has_barked()


def test_a_pause_of_the_supervisor_is_no_hang_of_the_stage(clock: Clock) -> None:
    dog = Watchdog(hang_s=2.0)
    dog.heard(moving=True)
    clock.now += 60.0
    assert not dog.has_barked()


def test_positions_counters_and_calls_are_movement() -> None:
    activity = Activity()
    activity.moves(idle=False, seen=1)
    assert not activity.moves(idle=False, seen=1)
    assert activity.moves(idle=False, seen=2)
    activity.working(lambda: None)
    assert activity.moves(idle=False, seen=2)
    assert not activity.moves(idle=False, seen=2)


def test_waiting_for_another_system_is_no_hang() -> None:
    activity = Activity()
    activity.moves(idle=False, seen=1)
    with activity.asking():
        assert activity.moves(idle=False, seen=1)
        assert activity.moves(idle=False, seen=1)
    assert not activity.moves(idle=False, seen=1)


def test_a_stage_without_anything_in_flight_does_not_hang_unless_it_loads() -> None:
    activity = Activity()
    activity.moves(idle=True, seen=1)
    assert activity.moves(idle=True, seen=1)

    def load() -> bool:
        activity.moves(idle=True, seen=1)
        return activity.moves(idle=True, seen=1)

    assert not activity.working(load)
