"""Which record is blamed for the deaths of a stage, and when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from nvisy.runtime.key_by_key import KeyByKey
from nvisy.runtime.memory import Memory
from nvisy.runtime.one_by_one import OneByOne
from nvisy.runtime.poison import LIVES, Cases, Life
from nvisy.topics.log import LogRecord, TopicPartition

A, B = TopicPartition("t", 0), TopicPartition("t", 1)
BEGAN, DIED, FAILED = Life(), Life(2, "SIGSEGV"), Life(2)


class State:
    """The state of a stage, which outlives it, and its topic."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.records = [record(at, offset) for offset in range(5) for at in (A, B)]
        self.read = 0

    def state(self) -> Mapping[str, bytes]:
        return self.values

    def commit(self, _positions: object, values: Mapping[str, bytes | None]) -> None:
        for name, value in values.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = value

    def poll(self, limit: int, timeout_s: float, *, paused: bool = False) -> Sequence[LogRecord]:
        found = [] if paused else self.records[self.read : self.read + limit]
        self.read += len(found)
        return found

    def caught_up(self, _ends: object) -> bool:
        return self.read == len(self.records)


def record(at: TopicPartition, offset: int) -> LogRecord:
    return LogRecord(*at, offset, b"s/k", b"", (), 0)


def live(state: State, life: Life, a: int = 0, b: int = 0) -> Cases:
    return Cases(Memory(state), "config", {A: a, B: b}, life)  # type: ignore[arg-type]


def suspected(cases: Cases) -> set[TopicPartition]:
    return set(cases.suspected(lambda: {A: 5, B: 5}))


def test_the_third_life_at_one_place_is_careful_with_that_partition() -> None:
    state = State()
    assert not suspected(live(state, BEGAN))
    assert not suspected(live(state, DIED, b=1))
    assert suspected(live(state, DIED, b=3)) == {A}


def test_a_life_that_ended_by_itself_does_not_count() -> None:
    state = State()
    live(state, BEGAN)
    for _ in range(LIVES):
        cases = live(state, FAILED)
    assert not suspected(cases)


def test_a_partition_that_was_read_to_its_end_is_not_suspected() -> None:
    state = State()
    live(state, BEGAN, a=5)
    live(state, DIED, a=5)
    assert suspected(live(state, DIED, a=5)) == {B}


def test_a_marked_record_is_guilty_when_the_process_died() -> None:
    state = State()
    state.commit({}, live(state, BEGAN).marking(A, 2))
    assert live(state, DIED, a=2).guilty == {A: 2}


def test_a_mark_that_was_passed_says_nothing() -> None:
    state = State()
    state.commit({}, live(state, BEGAN).marking(A, 2))
    assert live(state, DIED, a=3).guilty == {}


def test_a_mark_is_believed_at_the_second_sight_where_nobody_saw_the_death() -> None:
    state = State()
    state.commit({}, live(state, BEGAN).marking(A, 0))
    cases = live(state, BEGAN)
    assert (cases.guilty, suspected(cases)) == ({}, {A})
    state.commit({}, cases.marking(A, 0))
    assert live(state, BEGAN).guilty == {A: 0}


def test_another_configuration_begins_anew() -> None:
    state = State()
    state.commit({}, live(state, BEGAN).marking(A, 0))
    assert Cases(Memory(state), "other", {A: 0}, DIED).guilty == {}  # type: ignore[arg-type]


def gate(state: State, until: Mapping[TopicPartition, int], **skipped: int) -> OneByOne:
    cases = live(state, BEGAN)
    return OneByOne(state, cases, until, skipped={A: skipped["a"]} if skipped else {})


def places(records: Sequence[LogRecord]) -> list[tuple[int, int]]:
    return [(one.partition, one.offset) for one in records]


def test_a_suspected_record_comes_alone_when_all_before_it_is_through_and_it_is_marked() -> None:
    state = State()
    one_by_one = gate(state, {A: 2})
    trusted = places(one_by_one.poll(100, 0))
    assert trusted == [(1, offset) for offset in range(5)], "the order within a partition stays"
    assert places(one_by_one.poll(100, 0)) == []
    assert one_by_one.state({}) == {}, "what was given out is not through"
    values = one_by_one.state({B: 5})
    assert values, "now the next one is marked, in this commit"
    assert places(one_by_one.poll(100, 0)) == []
    one_by_one.committed()
    assert places(one_by_one.poll(100, 0)) == [(0, 0)]
    assert not one_by_one.caught_up({})


@pytest.mark.parametrize("offset", [0, 1])
def test_what_is_in_the_dead_letters_is_left_out(offset: int) -> None:
    one_by_one = gate(State(), {}, a=offset)
    assert (0, offset) not in places(one_by_one.poll(100, 0))


def let_through(keys: KeyByKey, key: str, before: int) -> int:
    """How often one has to wait for an item."""
    return sum(1 for _ in keys.alone(key, b"\x01", before))


def key_life(state: State, life: Life) -> KeyByKey:
    return KeyByKey(Memory(state), "files", life)  # type: ignore[arg-type]


def test_an_item_that_was_loaded_at_the_death_is_not_loaded_again_until_it_changes() -> None:
    state = State()
    for life in (BEGAN, DIED, DIED):
        keys = key_life(state, life)
    waiting = keys.alone("bad", b"\x01", 1)
    next(waiting)
    assert keys.state(0) == {}, "the change before it is not through"
    state.commit({}, keys.state(1))
    keys.committed()
    assert list(waiting) == []
    keys = key_life(state, DIED)
    assert keys.is_poison("bad", b"\x01")
    assert not keys.is_poison("bad", b"\x02")
    assert let_through(keys, "other", 0) == 0, "back at normal speed"


def test_a_full_pass_clears_every_suspicion() -> None:
    state = State()
    for life in (BEGAN, DIED, DIED):
        keys = key_life(state, life)
    keys.over()
    state.commit({}, keys.state(0))
    keys.committed()
    assert let_through(key_life(state, DIED), "any", 0) == 0
