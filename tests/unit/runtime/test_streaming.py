"""A stream is read from its position on, and the position is committed with what lies before it."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
import pytest

from nvisy.connector.source import Event
from nvisy.errors import Transient
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.memory import Memory
from nvisy.runtime.streaming import StreamingReader
from nvisy.testing.memory_source import MemoryHistory
from nvisy.topics.log import TopicPartition


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    monkeypatch.setattr("nvisy.runtime.streaming.LIMIT", 2)
    monkeypatch.setattr("nvisy.runtime.streaming.TIMEOUT_S", 0.01)


@pytest.fixture
def history():
    history = MemoryHistory(bounded=True)
    for number in range(3):
        history.put("a", f"a {number}")
        history.put("b", f"b {number}")
    history.remove("a")
    return history


POSITION = "position/1"
FIRST_EPOCH = {"epoch": b"1"}


class Remembering:
    """As much of a session as a memory asks for."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self.values = dict(values)

    def state(self) -> Mapping[str, bytes]:
        return self.values


def through(sequence: int) -> Mapping[TopicPartition, int]:
    return {TopicPartition("stream", 0): sequence}


def reader(history: MemoryHistory, state: Mapping[str, bytes] | None = None, **spec) -> StreamingReader:
    return StreamingReader(
        history.open(),
        Memory(Remembering({**FIRST_EPOCH, **(state or {})})),
        **{
            "node": "stream",
            "run": "run-1",
            "graph": "hash",
            "partitions": 4,
            "topic": "docs.stream",
            "inc": None,
            "counters": NodeCounters(),
            "live_keys": lambda _prefix: iter(()),
            **spec,
        },
    )


def drain(stream: StreamingReader) -> list[tuple[str, str, str]]:
    said = []
    while not stream.ended:
        for flight in stream.read(paused=False):
            change = flight.change
            said.append((change.op, change.origin.key, change.items[0].text if change.items else ""))
    return said


def test_everything_is_read_in_order_to_the_end(history):
    said = drain(reader(history))
    assert said == [("upsert", key, f"{key} {n}") for n in range(3) for key in "ab"] + [("delete", "a", "")]


def test_a_table_that_was_emptied_is_a_delete_of_every_key_of_it_once_all_before_is_through(history):
    history.events.insert(3, Event("t/", "clear"))
    stream = reader(history, live_keys=lambda prefix: iter([f"{prefix}{number}" for number in range(3)]))
    said = [stream.read(paused=False), stream.read(paused=False), stream.read(paused=False)]
    assert [[flight.change.origin.key for flight in flights] for flights in said] == [["a", "b"], ["a"], []]
    assert stream.state(through(2)) == {POSITION: b"2"}
    stream.committed([*said[0], *said[1]], {})
    deletes = [*stream.read(paused=False), *stream.read(paused=False)]
    assert [(flight.change.op, flight.change.origin.key) for flight in deletes] == [
        ("delete", f"t/{number}") for number in range(3)
    ]
    assert stream.state(through(6)) == {POSITION: b"4"}


def test_nothing_is_read_while_it_is_paused(history):
    assert reader(history).read(paused=True) == ()


def test_a_change_carries_where_it_comes_from(history):
    counters = NodeCounters()
    flight = reader(history, counters=counters).read(paused=False)[0]
    origin = flight.change.origin
    assert (origin.source, origin.key, origin.topic, origin.run) == ("stream", "a", "docs.stream", "run-1")
    assert (origin.version, origin.uri) == (None, "memory:a")
    assert origin.observed_at_us > 0
    assert flight.change.items[0].provenance is origin
    assert (counters.received, counters.emitted) == (2, 2)


def test_without_a_topic_changes_are_numbered_in_their_order(history):
    flights = reader(history, inc=3, topic="").read(paused=False)
    assert [tuple(flight.change.origin.version) for flight in flights] == [(3, 0), (3, 1)]


def test_a_position_is_committed_only_when_all_before_it_is_through(history):
    stream = reader(history)
    stream.read(paused=False)
    stream.read(paused=False)
    assert stream.state(through(0)) == {}
    assert stream.state(through(1)) == {}
    assert stream.state(through(3)) == {POSITION: b"2"}
    assert stream.state(through(3)) == {}
    assert stream.state(through(4)) == {POSITION: b"4"}


def test_the_next_process_goes_on_where_the_last_commit_was(history):
    whole = drain(reader(history))
    for so_far in range(len(whole) + 1):
        first = reader(history)
        drain(first)
        state = {name: value for name, value in first.state(through(so_far)).items() if value is not None}
        position = orjson.loads(state.get(POSITION, b"0"))
        assert position <= so_far
        assert drain(reader(history, state)) == whole[position:]


def test_the_source_hears_of_a_position_when_it_is_durable(history):
    stream = reader(history)
    stream.read(paused=False)
    stream.read(paused=False)
    stream.committed((), {})
    assert history.confirmed == []
    stream.state(through(4))
    assert history.confirmed == []
    stream.committed((), {})
    stream.committed((), {})
    assert history.confirmed == [4]


def test_a_stream_that_breaks_off_loses_nothing(history):
    history.breaks_at = 3
    stream, said = reader(history), []
    said += [flight.change.origin.key for flight in stream.read(paused=False)]
    with pytest.raises(Transient):
        stream.read(paused=False)
    state = {name: value for name, value in stream.state(through(2)).items() if value is not None}
    rest = drain(reader(history, state))
    assert len(said) + len(rest) == len(history.events)


def test_silence_takes_no_memory():
    stream = reader(MemoryHistory())
    for _ in range(100):
        stream.read(paused=False)
    assert len(stream._ahead) == 1


def test_silence_is_no_end():
    history = MemoryHistory()
    stream = reader(history)
    assert list(stream.read(paused=False)) == []
    assert not stream.ended
    history.put("a", "late")
    assert len(stream.read(paused=False)) == 1
    stream.close()
    stream.close()


def test_the_position_moves_on_while_nothing_is_in_flight(history):
    stream = reader(history)
    drain(stream)
    end = len(history.events)
    assert stream.state(through(end))[POSITION] == b"%d" % end
    assert stream.state({}) == {}, "nothing is new"


def test_another_epoch_reads_the_stream_from_its_beginning(history):
    first = reader(history)
    whole = drain(first)
    state = {name: value for name, value in first.state(through(len(whole))).items() if value is not None}
    again = reader(history, {**state, "epoch": b"2"})
    assert drain(again) == whole
    assert again.state(through(len(whole)))[POSITION] is None, "the position of the epoch before is forgotten"


def test_a_pass_is_complete_when_all_of_it_is_through(history):
    stream = reader(history)
    flights = []
    while not stream.ended:
        flights += stream.read(paused=False)
    assert not stream.complete
    stream.committed(flights, {})
    assert stream.complete


def test_a_pass_that_was_complete_before_is_complete(history):
    assert reader(history, {"complete": b"1"}).complete
