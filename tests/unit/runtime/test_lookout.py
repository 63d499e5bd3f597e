"""What stood in a foreign topic before it grew is known for certain, and what follows is read again when it is over."""

from __future__ import annotations

import pytest

from nvisy.errors import DealtAnew, Unreachable
from nvisy.runtime import lookout
from nvisy.runtime.lookout import LOOK_S, Lookout
from nvisy.runtime.numbering import LATE_MS, Certain, Numbering
from nvisy.topics.log import TopicInfo, TopicPartition

T = TopicPartition("t", 0)


class World:
    """A log with one topic, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.partitions: int | None = 1
        self.now_s = 1_000.0
        self.looks = 0
        monkeypatch.setattr(lookout.time, "monotonic", lambda: self.now_s)
        monkeypatch.setattr(lookout.time, "time_ns", lambda: int(self.now_s * 1e9))

    def describe(self, topic: str, *, settled: bool = False) -> TopicInfo | None:
        self.looks += 1
        if self.partitions is None:
            raise Unreachable("it is down")
        return TopicInfo(topic, "id", self.partitions, {}, {})

    def passes(self, seconds: float = LOOK_S) -> None:
        self.now_s += seconds

    @property
    def now_ms(self) -> int:
        return int(self.now_s * 1000)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def numbering() -> Numbering:
    return Numbering.begun(TopicInfo("t", "id", 1, {}, {}), 1)


def said(out: Lookout) -> Certain | None:
    value = out.state().get("certain/t")
    return Certain.from_json(value) if value is not None else None


def test_where_a_life_begins_is_certain(world: World) -> None:
    out = Lookout(world, {"t": numbering()}, {T: 7, TopicPartition("own", 0): 3})
    assert said(out) == Certain(1, world.now_ms, {0: 7})
    out.committed({T: 9})
    assert said(out) is None, "it is said once"


def test_what_was_committed_a_look_ago_is_certain_if_nothing_was_added_since(world: World) -> None:
    out = Lookout(world, {"t": numbering()}, {T: 7})
    out.committed({T: 20})
    world.passes()
    out.look()
    first_ms = world.now_ms
    out.committed({T: 30})
    world.passes()
    out.look()
    assert said(out) == Certain(1, first_ms, {0: 20})


def test_what_may_be_younger_than_a_growth_is_not(world: World) -> None:
    out = Lookout(world, {"t": numbering()}, {T: 7})
    out.committed({T: 20})
    world.passes()
    out.look()
    out.committed({T: 30})
    world.partitions = 2
    world.passes()
    out.look()
    assert said(out) is None


def test_it_looks_now_and_then_and_a_log_that_is_down_is_for_others_to_report(world: World) -> None:
    out = Lookout(world, {"t": numbering()}, {T: 7})
    out.look()
    assert world.looks == 0
    world.partitions = None
    world.passes()
    for _ in range(3):
        out.look()
    assert world.looks == 1


def test_the_stage_begins_anew_when_all_who_write_know_the_partitions(world: World) -> None:
    grown = numbering().grown(TopicInfo("t", "id", 2, {}, {}), None, world.now_ms)
    world.partitions = 2
    out = Lookout(world, {"t": grown}, {T: 7})
    world.passes(LATE_MS / 1000 - 1)
    out.look()
    world.passes(LOOK_S)
    with pytest.raises(DealtAnew, match="2 partitions"):
        out.look()


def test_without_foreign_topics_there_is_nothing_to_look_at(world: World) -> None:
    out = Lookout(world, {}, {T: 7})
    world.passes()
    out.look()
    assert (world.looks, dict(out.state())) == (0, {})
