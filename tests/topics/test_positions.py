"""How far a stage has come survives it, together with what it appended and what it remembers."""

import pytest

from nvisy.errors import Refused
from nvisy.topics.log import Seat, TopicPartition
from tests.topics.drive import after, drain, ends, numbers, reader, records, until, write, writer


def test_a_stage_goes_on_where_it_committed(opened, graph, topic):
    log = opened()
    write(log, writer(graph, topic), records(topic, range(20)))
    session = log.session(reader(graph, topic))
    found = drain(log, session, topic)
    session.commit(after(found[:12]))
    session.close()
    again = opened().session(reader(graph, topic))
    assert again.positions()[TopicPartition(topic, 0)] == found[12].offset
    assert again.positions()[TopicPartition(topic, 1)] == 0
    assert numbers(drain(log, again, topic)) == list(range(12, 20))
    again.close()


def test_another_configuration_starts_over(log, graph, topic):
    write(log, writer(graph, topic), records(topic, range(5)))
    session = log.session(reader(graph, topic))
    session.commit(after(drain(log, session, topic)))
    session.close()
    changed = log.session(reader(graph, topic, config="c2"))
    assert set(changed.positions().values()) == {0}
    assert numbers(drain(log, changed, topic)) == list(range(5))
    changed.close()


def test_appends_positions_and_state_are_committed_together(opened, graph, topic):
    log = opened()
    log.create(f"{graph}.out", 2)
    log.create(f"{graph}.dlq", 1)
    write(log, writer(graph, topic), records(topic, range(6)))
    seat = reader(graph, topic, stage="copy", outputs=(f"{graph}.out",))
    session = log.session(seat)
    found = drain(log, session, topic)
    session.append(records(f"{graph}.out", range(5)) + records(f"{graph}.dlq", [5]))
    session.commit(after(found), {"seen": b"6", "gone": b"x"})
    session.commit({}, {"gone": None})
    session.append(records(f"{graph}.out", [99]))
    session.close()
    again = opened().session(seat)
    assert again.state() == {"seen": b"6"}
    assert drain(log, again, topic) == []
    assert numbers(log.scan(f"{graph}.out")) == list(range(5))
    assert numbers(log.scan(f"{graph}.dlq")) == [5]
    again.close()


def test_what_any_stage_of_a_graph_remembers_can_be_recalled_by_name(opened, graph, topic):
    log = opened()
    assert log.recall(graph, "seen/of t") == []
    log.create(f"{graph}.out", 1)
    seats = (
        Seat(graph, "one", "c1", (), (topic,)),
        Seat(graph, "two", "c1", (), (f"{graph}.out",)),
        Seat(graph, "none", "c1", (topic,), ()),
        Seat(f"{graph}x", "other", "c1", (), (topic,)),
    )
    for number, seat in enumerate(seats):
        session = log.session(seat)
        session.commit({}, {"seen/of t": b"0", "seen": b"else"})
        session.commit({}, {"seen/of t": b"%d" % number})
        session.close()
    assert sorted(opened().recall(graph, "seen/of t")) == [b"0", b"1", b"2"]
    assert opened().recall(graph, "of t") == []


def test_state_belongs_to_its_stage_and_outlives_its_configuration(log, graph, topic):
    one = Seat(graph, "one", "c1", (), (topic,))
    session = log.session(one)
    session.commit({}, {"position": b"\x00lsn"})
    assert session.state() == {"position": b"\x00lsn"}
    session.close()
    other = log.session(Seat(graph, "two", "c1", (), (topic,)))
    assert other.state() == {}
    other.close()
    later = log.session(Seat(graph, "one", "c2", (), (topic,)))
    assert later.state() == {"position": b"\x00lsn"}
    later.close()


def test_state_and_positions_follow_a_stage_whose_outputs_change(log, graph, topic):
    log.create(f"{graph}.out", 2)
    write(log, writer(graph, topic), records(topic, range(4)))
    for outputs in ((), (f"{graph}.out",), ()):
        session = log.session(reader(graph, topic, outputs=outputs))
        found = session.poll(100, 0) or drain(log, session, topic)
        expected = {} if not session.state() else {"n": b"1"}
        assert session.state() == expected
        assert numbers(found) == (list(range(4)) if not expected else [])
        session.commit(after(found), {"n": b"1"})
        session.close()


def test_caught_up_counts_gaps_and_aborted_tails_and_empty_partitions_as_read(log, graph, topic):
    for values in ([1], [2, 3], [4]):
        write(log, writer(graph, topic), records(topic, values))
    dropped = log.session(writer(graph, topic))
    dropped.append(records(topic, range(100, 120)))
    dropped.close()
    session = log.session(reader(graph, topic))
    target = ends(log, topic)
    assert not session.caught_up(target)
    found = drain(log, session, topic)
    assert numbers(found) == [1, 2, 3, 4]
    session.commit(after(found))
    session.close()
    again = log.session(reader(graph, topic))
    until(lambda: not again.poll(10, 0.05) and again.caught_up(target))
    write(log, writer(graph, topic), records(topic, [5]))
    assert not again.caught_up(ends(log, topic))
    assert numbers(drain(log, again, topic)) == [5]
    again.close()


def test_a_topic_made_anew_is_refused_by_the_stage_that_has_read_the_old_one(log, graph, topic):
    write(log, writer(graph, topic), records(topic, range(3)))
    session = log.session(reader(graph, topic))
    session.commit(after(drain(log, session, topic)))
    session.close()
    log.delete(topic)
    until(lambda: log.describe(topic) is None)
    log.create(topic, 2)
    write(log, writer(graph, topic), records(topic, range(10, 15)))
    with pytest.raises(Refused, match="made anew"):
        log.session(reader(graph, topic))
    unread = log.session(reader(graph, topic, stage="new"))
    assert numbers(drain(log, unread, topic)) == list(range(10, 15))
    unread.close()


def test_a_stage_that_had_read_nothing_does_not_mind_a_topic_made_anew(log, graph, topic):
    log.session(reader(graph, topic)).close()
    log.delete(topic)
    until(lambda: log.describe(topic) is None)
    log.create(topic, 2)
    write(log, writer(graph, topic), records(topic, [1]))
    session = log.session(reader(graph, topic))
    assert numbers(drain(log, session, topic)) == [1]
    session.close()
