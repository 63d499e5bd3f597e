"""Who dies within a transaction leaves it open, and what others commit after it cannot be read for a while."""

import threading
from contextlib import contextmanager

import pytest

from nvisy.errors import Unreachable
from nvisy.topics.kafka.address import parse_address
from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.kafka.state import state_topic
from nvisy.topics.kafka.writer import Writer
from nvisy.topics.log import Append, Seat
from nvisy.topics.open import open_log

pytestmark = pytest.mark.kafka


@pytest.fixture
def log(kafka_url, tmp_path):
    return open_log(kafka_url, root=tmp_path, environ={})


@pytest.fixture
def left_open(kafka_url):
    """Opens a transaction with one record in a topic; ends within the `with`, or a moment after it was entered."""

    @contextmanager
    def opened(topic, *, ends_after_s=None):
        cluster = Cluster(parse_address(kafka_url, {}))
        dead = Writer(cluster, f"dead.{topic}")
        dead.append([Append(topic, 0, b"dead", b"")])
        dead._producer.flush(10)
        end = threading.Timer(ends_after_s or 0, lambda: Writer(cluster, f"dead.{topic}").close())
        if ends_after_s is not None:
            end.start()
        try:
            yield
        finally:
            if ends_after_s is None:
                end.start()
            end.join()

    return opened


def test_a_claim_is_taken_whatever_stages_left_open(log, unique_name, left_open):
    log.claim(unique_name, "alpha:1").release()
    topic = state_topic(unique_name)
    with left_open(topic):
        before = log.describe(topic)
        claim = log.claim(unique_name, "beta:2")
        assert log.holder(unique_name).owner == "beta:2"
        assert log.describe(topic).end[0] == before.end[0]  # it is still open
        claim.release()


def test_what_a_stage_committed_behind_an_open_transaction_is_remembered(log, unique_name, left_open):
    log.claim(unique_name, "alpha:1").release()
    seat = Seat(unique_name, "index", "1", (), ())
    with left_open(state_topic(unique_name), ends_after_s=1.0):
        session = log.session(seat)
        session.commit({}, {"stamp": b"7"})
        session.close()
        assert log.session(seat).state() == {"stamp": b"7"}
        assert log.state(seat) == {"stamp": b"7"}
        assert list(log.recall(unique_name, "stamp")) == [b"7"]


def test_the_end_of_a_topic_is_told_once_nothing_before_it_is_open(log, unique_name, left_open):
    log.create(unique_name, 1)
    with left_open(unique_name, ends_after_s=1.0):
        session = log.session(Seat(f"{unique_name}.graph", "split", "1", (), (unique_name,)))
        session.append([Append(unique_name, 0, b"key", b"value")])
        session.commit({})
        assert log.describe(unique_name).end == {0: 0}
        assert log.describe(unique_name, settled=True).end[0] > 1
        session.close()


def test_a_transaction_that_stays_open_is_named(log, unique_name, left_open, monkeypatch):
    monkeypatch.setattr("nvisy.topics.kafka.topics.TRANSACTION_WAIT_S", 0.2)
    log.create(unique_name, 1)
    with left_open(unique_name), pytest.raises(Unreachable, match="a transaction that was left open"):
        log.describe(unique_name, settled=True)
