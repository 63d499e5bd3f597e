"""What a stage remembers: the incarnation of what it writes rises whenever offsets would start again."""

from __future__ import annotations

import pytest

from nvisy.errors import Refused
from nvisy.runtime.memory import Memory, is_certain, recalled
from nvisy.runtime.numbering import Certain, Numbering
from nvisy.topics.log import TopicInfo


class State:
    """As much of a session as a memory asks for."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def state(self) -> dict[str, bytes]:
        return dict(self.values)

    def commit(self, _positions, values) -> None:
        for name, value in values.items():
            if value is None:
                self.values.pop(name, None)
            else:
                self.values[name] = value


@pytest.fixture
def state() -> State:
    return State()


def test_the_incarnation_of_a_topic_stays_from_life_to_life(state):
    assert [Memory(state).incarnation({"a": "id"}) for _ in range(3)] == [1, 1, 1]


def test_a_topic_that_was_made_anew_has_the_next_one(state):
    Memory(state).incarnation({"a": "id", "b": "id"})
    assert Memory(state).incarnation({"a": "id", "b": "other"}) == 2
    assert Memory(state).incarnation({"a": "id", "b": "other"}) == 2


def test_another_topic_has_a_higher_one_than_any_before(state):
    Memory(state).incarnation({"a": "id"}, 3)
    assert Memory(state).incarnation({"b": "id"}) == 4


@pytest.mark.parametrize(("at_least", "topic_id", "found"), [(5, "id", 5), (5, "new", 5), (1, "new", 2)])
def test_it_is_as_high_as_is_asked_for(state, at_least, topic_id, found):
    Memory(state).incarnation({"a": "id"})
    assert Memory(state).incarnation({"a": topic_id}, at_least) == found
    assert Memory(state).incarnation({"a": topic_id}) == found


def test_it_goes_on_from_lives_without_a_topic_and_back(state):
    Memory(state).incarnation({"a": "id"}, 3)
    assert Memory(state).next_unlogged_incarnation() == 4
    assert Memory(state).next_unlogged_incarnation(at_least=9) == 9
    assert Memory(state).incarnation({"a": "id"}) == 10


def test_what_is_remembered_of_passes_and_lanes_outlives_the_process(state):
    memory = Memory(state)
    memory.begin_epoch(2)
    memory.has_completed(2)
    memory.has_swept("files", 2)
    memory.has_lanes("mark")
    for known in (memory, Memory(state)):
        assert (known.epoch, known.complete, known.swept("files")) == (2, 2, 2)
        assert known.knows_lanes("mark")
        assert not known.knows_lanes("another")


def test_an_epoch_knows_the_configuration_that_its_pass_went_through(state):
    memory = Memory(state)
    assert not memory.began_epoch_as("one")
    memory.begin_epoch(1, "one")
    assert memory.began_epoch_as("one")
    assert not Memory(state).began_epoch_as("two")
    memory.begin_epoch(2)
    assert (memory.epoch, memory.began_epoch_as("one")) == (2, True)


def test_what_is_certain_of_a_topic_of_others_outlives_the_process(state):
    certain = Certain(3, 1_000, {0: 5, 2: 7})
    Memory(state).remember(is_certain("t", certain))
    assert Memory(state).certain("t") == certain
    assert Memory(state).certain("other") is None


class Remembering:
    """A log whose stages remember this."""

    def __init__(self, **values: list[bytes]) -> None:
        self._values = values

    def recall(self, graph: str, name: str) -> list[bytes]:
        return self._values.get(name.removesuffix("/t"), [])


def test_a_stage_of_another_name_goes_on_with_the_numbers_of_the_former_one():
    one = Numbering.begun(TopicInfo("t", "id", 2, {}, {}), 1)
    two = Numbering.begun(TopicInfo("t", "id", 3, {}, {}), 2)
    certain = [Certain(3, 10, {0: 1}), Certain(3, 20, {0: 2}), Certain(2, 30, {0: 3})]
    log = Remembering(
        numbering=[one.to_json(), two.to_json(), one.to_json()], certain=[at.to_json() for at in certain]
    )
    assert recalled(log, "g", "t") == (two, certain[1])
    assert recalled(Remembering(), "g", "t") == (None, None)


def test_a_state_of_a_later_version_is_refused(state):
    Memory(state).begin_epoch(1)
    assert state.values["format"] == b"1"
    state.values["format"] = b"2"
    with pytest.raises(Refused, match=r"format 2.*upgrade"):
        Memory(state)
