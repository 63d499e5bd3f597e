"""Whoever takes a seat shuts out whoever held it before."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvisy.errors import NvisyError, Refused
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Append, TopicPartition
from tests.topics.drive import after, drain, numbers, reader, records, until, write, writer

_ACTIONS = st.sampled_from(["work", "takeover", "zombie"])


def test_a_fenced_writer_is_refused_and_nothing_of_it_becomes_visible(opened, graph, topic):
    log = opened()
    old = log.session(writer(graph, topic))
    old.append(records(topic, [1]))
    old.commit({})
    old.append(records(topic, [100, 101]))
    new = opened().session(writer(graph, topic))
    new.append(records(topic, [2]))
    new.commit({})
    with pytest.raises(Refused, match="taken over"):
        old.commit({}, {"position": b"old"})
    with pytest.raises(Refused):
        old.commit({}, {"position": b"old"})
    assert numbers(log.scan(topic)) == [1, 2]
    assert new.state() == {}
    old.close()
    new.append(records(topic, [3]))
    new.commit({})
    assert numbers(log.scan(topic)) == [1, 2, 3]
    new.close()


def test_a_fenced_reader_cannot_move_the_position_or_append(opened, graph, topic):
    log = opened()
    log.create(f"{graph}.out", 2)
    write(log, writer(graph, topic), records(topic, range(10)))
    seat = reader(graph, topic, stage="copy", outputs=(f"{graph}.out",))
    old = log.session(seat)
    found = drain(log, old, topic)
    old.append(records(f"{graph}.out", range(10)))
    new = opened().session(seat)
    assert numbers(drain(log, new, topic)) == list(range(10))
    with pytest.raises(Refused):
        old.commit(after(found))
    assert list(log.scan(f"{graph}.out")) == []
    new.append(records(f"{graph}.out", range(10)))
    new.commit(after(found))
    assert numbers(log.scan(f"{graph}.out")) == list(range(10))
    old.close()
    new.close()


def test_a_fenced_sink_cannot_move_the_position(opened, graph, topic):
    log = opened()
    write(log, writer(graph, topic), records(topic, range(10)))
    old = log.session(reader(graph, topic))
    found = drain(log, old, topic)
    new = opened().session(reader(graph, topic))
    with pytest.raises(Refused):
        old.commit(after(found))
    assert numbers(drain(log, new, topic)) == list(range(10))
    old.close()
    new.close()


def test_a_fenced_reader_that_only_polls_is_refused_too(opened, graph, topic):
    log = opened()
    old = log.session(reader(graph, topic))
    drain(log, old, topic)
    new = opened().session(reader(graph, topic))
    write(log, writer(graph, topic), records(topic, range(3)))
    with pytest.raises(Refused):
        until(lambda: old.poll(10, 0.2) and old.commit({TopicPartition(topic, 0): 1}))
    assert numbers(drain(log, new, topic)) == [0, 1, 2]
    old.close()
    new.close()


def test_other_slots_and_other_stages_write_on(opened, graph, topic):
    log = opened()
    log.create(f"{graph}.dlq", 1)
    seats = [writer(graph, topic, slot=0), writer(graph, topic, slot=1), writer(graph, topic, stage="other")]
    sessions = [log.session(seat) for seat in seats]
    for n, session in enumerate(sessions):
        session.append([*records(topic, [n]), *records(f"{graph}.dlq", [n])])
        session.commit({})
    assert sorted(numbers(log.scan(topic))) == sorted(numbers(log.scan(f"{graph}.dlq"))) == [0, 1, 2]
    for session in sessions:
        session.close()


def test_a_slot_that_there_is_no_more_is_fenced_by_those_that_are_left(tmp_path, graph):
    # On Kafka the broker does it: partitions that were dealt anew belong to another generation.
    embedded_log, topic = EmbeddedLog(tmp_path), f"{graph}.out"
    embedded_log.create(topic, 2)
    old = embedded_log.session(writer(graph, topic, slot=1, slots=2))
    old.append(records(topic, [1]))
    embedded_log.session(writer(graph, topic, slot=0, slots=1)).close()
    with pytest.raises(Refused, match="taken over"):
        old.commit({})
    assert list(embedded_log.scan(topic)) == []
    old.close()
    embedded_log.close()


@pytest.mark.timeout(300)
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(_ACTIONS, st.integers(1, 3)), max_size=12))
def test_versions_of_a_key_never_decrease_whatever_a_replaced_writer_does(opened, graph, topic, steps):
    log = opened()
    seat = writer(graph, topic)
    live, zombies = log.session(seat), []
    try:
        for action, count in steps:
            if action == "takeover":
                zombies.append(live)
                live = opened().session(seat)
            elif action == "zombie" and zombies:
                with pytest.raises(NvisyError):
                    _bump(zombies[-1], topic, count)
            else:
                _bump(live, topic, count)
        versions = numbers(log.scan(topic))
        assert versions == sorted(set(versions))
        assert versions[-1:] == ([int(live.state()["version"])] if live.state() else [])
    finally:
        for session in (live, *zombies):
            session.close()


def _bump(session, topic: str, count: int) -> None:
    version = int(session.state().get("version", b"0"))
    session.append([Append(topic, 0, b"key", b"%d" % n) for n in range(version + 1, version + count + 1)])
    session.commit({}, {"version": b"%d" % (version + count)})
