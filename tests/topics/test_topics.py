"""Topics are made, described, listed and removed."""

import pytest

from nvisy.errors import Refused, UsageError
from tests.topics.drive import records, until, write, writer


def test_a_new_topic_is_empty_and_has_its_partitions(log, graph):
    info = log.create(f"{graph}.new", 3)
    assert (info.name, info.partitions) == (f"{graph}.new", 3)
    assert dict(info.start) == dict(info.end) == {0: 0, 1: 0, 2: 0}
    assert log.describe(f"{graph}.new") == info


def test_creating_a_topic_again_verifies_it(log, graph, topic):
    write(log, writer(graph, topic), records(topic, [1]))
    again = log.create(topic, 2)
    assert again == log.describe(topic)
    with pytest.raises(Refused, match="2 partitions"):
        log.create(topic, 3)


def test_a_topic_that_is_not_there_is_none_and_cannot_be_seated_at(log, graph):
    assert log.describe(f"{graph}.none") is None
    with pytest.raises(Refused, match="no topic"):
        log.session(writer(graph, f"{graph}.none"))
    log.delete(f"{graph}.none")


def test_a_topic_made_anew_has_another_id_and_nothing_in_it(log, graph, topic):
    write(log, writer(graph, topic), records(topic, range(3)))
    before = log.describe(topic)
    log.delete(topic)
    until(lambda: log.describe(topic) is None)
    after = log.create(topic, 2)
    assert after.id != before.id
    assert dict(after.end) == {0: 0, 1: 0}
    assert list(log.scan(topic)) == []


def test_topics_are_listed_by_name(log, graph, topic):
    log.create(f"{graph}.a", 1)
    assert [name for name in log.topics() if name.startswith(graph)] == [f"{graph}.a", topic]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "x" * 241])
def test_a_name_that_no_log_could_take_is_a_usage_error(log, name):
    with pytest.raises(UsageError, match="cannot name a topic"):
        log.create(name, 1)


def test_the_id_of_a_log_stays(opened):
    assert opened().id == opened().id != ""
