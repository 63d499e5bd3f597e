"""Records go in, come out in order, and are seen by nobody before their commit."""

import pytest

from nvisy.errors import Rejected, UsageError
from nvisy.topics.log import MAX_RECORD_BYTES, Append, TopicPartition
from tests.topics.drive import after, drain, ends, numbers, reader, records, until, write, writer

_MIB = 1024 * 1024


def test_what_is_committed_is_polled_in_order_within_each_partition(log, graph, topic):
    session = log.session(writer(graph, topic))
    for start in range(0, 300, 50):
        session.append(records(topic, range(start, start + 50), partition=start // 50 % 2))
        session.commit({})
    found = drain(log, log.session(reader(graph, topic)), topic)
    for partition in (0, 1):
        mine = [record for record in found if record.partition == partition]
        assert numbers(mine) == [n for n in range(300) if n // 50 % 2 == partition]
        assert [record.offset for record in mine] == sorted(record.offset for record in mine)
    session.close()


def test_a_record_comes_back_as_it_went_in(log, graph, topic):
    sent = [
        Append(topic, 1, b"a", b"\x00\xff", (("name", b"v"), ("name", b""), ("täg", b"\x00"))),
        Append(topic, 1, b"gone", None),
        Append(topic, 1, b"", b""),
    ]
    write(log, writer(graph, topic), sent)
    found = drain(log, log.session(reader(graph, topic)), topic)
    assert [Append(r.topic, r.partition, r.key or b"", r.value, r.headers) for r in found] == sent
    assert all(abs(r.timestamp_ms - found[0].timestamp_ms) < 60_000 for r in found)
    assert found[0].timestamp_ms > 1_700_000_000_000


def test_nothing_is_read_before_its_commit(log, graph, topic):
    session = log.session(writer(graph, topic))
    watching = log.session(reader(graph, topic))
    session.append(records(topic, range(10)))
    assert watching.poll(100, 0.3) == [] or not watching.poll(100, 0.1)
    session.commit({})
    found = []
    until(lambda: found.extend(watching.poll(100, 0.2)) or len(found) == 10)
    session.close()
    watching.close()


def test_what_was_not_committed_is_dropped_when_the_session_closes(log, graph, topic):
    session = log.session(writer(graph, topic))
    session.append(records(topic, [1]))
    session.commit({})
    session.append(records(topic, [2, 3]))
    session.close()
    session.close()
    write(log, writer(graph, topic), records(topic, [4]))
    assert numbers(drain(log, log.session(reader(graph, topic)), topic)) == [1, 4]
    assert numbers(log.scan(topic)) == [1, 4]


def test_a_poll_takes_no_more_than_its_limit_and_waits_no_longer_than_its_time(log, graph, topic):
    write(log, writer(graph, topic), records(topic, range(25)))
    session = log.session(reader(graph, topic))
    taken: list[int] = []
    most = 0

    def poll() -> None:
        nonlocal most
        came = numbers(session.poll(10, 0.2))
        most = max(most, len(came))
        taken.extend(came)

    until(lambda: poll() or len(taken) >= 10)
    assert not session.poll(10, 0.1, paused=True)
    until(lambda: poll() or len(taken) >= 25)
    assert taken == list(range(25))
    assert most <= 10
    assert not session.poll(10, 0.0)
    session.close()


def test_partitions_that_are_held_bring_nothing_until_they_are_held_no_longer(log, graph, topic):
    write(
        log, writer(graph, topic), records(topic, range(300)) + records(topic, range(300, 310), partition=1)
    )
    session = log.session(reader(graph, topic))
    held = {TopicPartition(topic, 0), TopicPartition("of another stage", 0)}
    found: list[int] = []

    def others_came() -> bool:
        found.extend(numbers(session.poll(10, 0.2, held=held)))
        return session.caught_up({TopicPartition(topic, 1): 10})

    until(others_came)
    assert len(found) < 310, "what had been fetched may come, the rest waits"
    assert not session.caught_up({TopicPartition(topic, 0): 300})
    assert not session.poll(10, 0.1, paused=True, held=held)
    until(lambda: found.extend(numbers(session.poll(100, 0.2))) or len(found) >= 310)
    assert [number for number in found if number < 300] == list(range(300))
    assert [number for number in found if number >= 300] == list(range(300, 310))
    session.close()


def test_a_record_of_15_mib_passes_and_a_larger_one_than_the_limit_is_rejected(log, graph, topic):
    large = bytes(15 * _MIB)
    write(log, writer(graph, topic), [Append(topic, 0, b"large", large)])
    assert drain(log, log.session(reader(graph, topic)), topic)[0].value == large
    session = log.session(writer(graph, topic))
    with pytest.raises(Rejected, match="does not fit"):
        session.append([Append(topic, 0, b"small", b"1"), Append(topic, 0, b"k", bytes(MAX_RECORD_BYTES))])
    session.append(records(topic, [7]))
    session.commit({})
    assert [record.key for record in log.scan(topic)] == [b"large", b"k7"]
    session.close()


def test_a_record_of_exactly_the_limit_passes(log, graph, topic):
    write(log, writer(graph, topic), [Append(topic, 0, b"key", bytes(MAX_RECORD_BYTES - 3))])
    assert len(next(iter(log.scan(topic))).value) == MAX_RECORD_BYTES - 3


def test_two_stages_read_the_same_topic_each_at_its_own_place(log, graph, topic):
    write(log, writer(graph, topic), records(topic, range(20)))
    first, second = (log.session(reader(graph, topic, stage=stage)) for stage in ("one", "two"))
    found = drain(log, first, topic)
    first.commit(after(found))
    assert numbers(found) == numbers(drain(log, second, topic)) == list(range(20))
    first.close()
    second.close()


def test_scan_starts_where_it_is_told_and_ends_at_the_end(log, graph, topic):
    write(log, writer(graph, topic), records(topic, range(5)) + records(topic, range(10, 13), partition=1))
    everything = list(log.scan(topic))
    assert sorted(numbers(everything)) == [0, 1, 2, 3, 4, 10, 11, 12]
    offset = everything[2].offset if everything[2].partition == 0 else 2
    assert sorted(numbers(log.scan(topic, {0: offset}))) == [2, 3, 4, 10, 11, 12]
    assert list(log.scan(topic, dict.fromkeys((0, 1), 10_000))) == []


def test_read_finds_the_record_at_an_offset_and_none_where_there_is_no_record(log, graph, topic):
    write(log, writer(graph, topic), records(topic, range(5), partition=1))
    third = list(log.scan(topic))[2]
    assert log.read(topic, 1, third.offset) == third
    assert log.read(topic, 1, 10_000) is None
    assert log.read(topic, 0, 0) is None


def test_a_partition_that_does_not_exist_is_refused(log, graph, topic):
    session = log.session(writer(graph, topic))
    with pytest.raises(UsageError, match="partitions 0 to 1"):
        session.append([Append(topic, 2, b"k", b"v")])
    session.close()


def test_lag_tells_the_committed_and_the_end_offset_without_taking_the_seat(log, graph, topic):
    seat = reader(graph, topic)
    write(log, writer(graph, topic), records(topic, range(10)))
    assert log.lag(seat) == {place: (0, end) for place, end in ends(log, topic).items()}
    session = log.session(seat)
    found = drain(log, session, topic)
    session.commit(after(found[:4]))
    committed, _ = log.lag(seat)[TopicPartition(topic, 0)]
    assert committed == found[4].offset
    session.commit(after(found))
    assert all(committed == end for committed, end in log.lag(seat).values())
    session.close()
