"""A collection and a stage's state go together; an older copy of one of them is noticed."""

from __future__ import annotations

import copy

import pytest

from nvisy.runtime.memory import Memory
from nvisy.runtime.stamps import Stamping
from nvisy.testing.memory_sink import MemorySink, Store
from nvisy.testing.records import OWNER, make_set


class State:
    """As much of a session as a memory asks for."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def state(self) -> dict[str, bytes]:
        return dict(self.values)

    def commit(self, _positions, values) -> None:
        self.values.update(values)


class Lives:
    """Lives of a stage, each of some commits, over a collection and a state that can be put back."""

    def __init__(self) -> None:
        self.sink = MemorySink(Store())
        self.sink.prepare(OWNER)
        self.state = State()

    def copy(self):
        return copy.deepcopy(self.sink), copy.deepcopy(self.state)

    def stamping(self) -> tuple[Stamping, Memory]:
        return Stamping("g", "index", 0, self.sink.open(1)), Memory(self.state)

    def live(self, commits: int, *, last_is_lost: bool = False) -> None:
        stamping, memory = self.stamping()
        stamping.open(memory)
        for number in range(commits):
            document = make_set("a.md", [f"text {number}"], offset=number)
            stamping._writer.apply([document, stamping.of([document])])
            if number < commits - 1 or not last_is_lost:
                self.state.commit({}, stamping.state())
            stamping.committed()

    def verdict(self) -> str:
        stamping, memory = self.stamping()
        older = [stamping.index_is_older(memory), stamping.log_is_older(memory)]
        assert not all(older)
        return "index is older" if older[0] else "log is older" if older[1] else "level"


@pytest.fixture
def lives() -> Lives:
    lives = Lives()
    lives.live(3)
    return lives


def test_what_goes_together_is_level(lives):
    assert lives.verdict() == "level"
    lives.live(2)
    assert lives.verdict() == "level"


def test_a_stage_killed_before_its_commit_leaves_them_level(lives):
    lives.live(2, last_is_lost=True)
    assert lives.verdict() == "level"


@pytest.mark.parametrize("commits", [1, 2, 5])
def test_an_older_copy_of_the_index_is_noticed(lives, commits):
    index, _ = lives.copy()
    lives.live(commits)
    lives.sink = index
    assert lives.verdict() == "index is older"


@pytest.mark.parametrize("commits", [1, 2, 5])
def test_an_older_copy_of_the_log_is_noticed(lives, commits):
    _, log = lives.copy()
    lives.live(commits)
    lives.state = log
    assert lives.verdict() == "log is older"


@pytest.mark.parametrize("put_back", ["index", "log"])
def test_after_a_life_they_are_level_again(lives, put_back):
    index, log = lives.copy()
    lives.live(4)
    if put_back == "index":
        lives.sink = index
    else:
        lives.state = log
    lives.live(1)
    assert lives.verdict() == "level"


def test_the_stamp_bears_the_highest_incarnation(lives):
    stamping, memory = lives.stamping()
    stamping.open(memory)
    document = make_set("b.md", ["text"], offset=(3 << 36) - (1 << 36) + 7)
    stamping._writer.apply([document, stamping.of([document])])
    assert lives.stamping()[0].found.inc == document.version >> 36


def test_what_a_copy_wrote_that_does_not_run_now_is_heard_once(lives):
    copy_1 = Stamping("g", "index", 1, lives.sink.open(1))
    copy_1.open(Memory(lives.state))
    _, log = lives.copy()
    for number in range(3):
        document = make_set("b.md", [f"text {number}"], offset=number)
        copy_1._writer.apply([document, copy_1.of([document])])
        lives.state.commit({}, copy_1.state())
        copy_1.committed()
    stamping, memory = lives.stamping()
    assert stamping.idle_are_ahead(memory, {0}) == 0
    lives.state = log
    stamping, memory = lives.stamping()
    assert lives.verdict() == "level"
    assert stamping.idle_are_ahead(memory, {0, 1}) == 0
    assert stamping.idle_are_ahead(memory, {0}) == stamping.found.inc == 1
    stamping.level(memory, {0})
    assert lives.stamping()[0].idle_are_ahead(Memory(lives.state), {0}) == 0
