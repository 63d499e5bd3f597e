"""A broker that dies ends sessions, and new ones go on with nothing lost and nothing doubled."""

import time
from pathlib import Path

import pytest

from nvisy.errors import Refused, Unreachable
from nvisy.topics.log import Seat
from nvisy.topics.open import open_log
from tests.topics.drive import until
from tests.topics.stages import PARTITIONS, Copy, Count, counted, numbers_by_partition

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]


def test_a_killed_broker_loses_nothing_and_doubles_nothing(own_kafka, tmp_path):
    url = f"kafka://{own_kafka.bootstrap}"
    log = open_log(url, root=tmp_path, environ={})
    log.create("in", PARTITIONS)
    log.create("out", PARTITIONS)
    count = Count(open_log(url, root=tmp_path, environ={}), Seat("g", "count", "c", (), ("in",)))
    copy = Copy(open_log(url, root=tmp_path, environ={}), Seat("g", "copy", "c", ("in",), ("out",)))
    count.start()
    copy.start()
    until(lambda: time.sleep(0.05) or copy.done > 500)
    own_kafka.kill()
    until(lambda: time.sleep(0.1) or count.reopened > 0)
    own_kafka.start()
    before = count.done
    until(lambda: time.sleep(0.1) or count.done > before + 200)
    until(lambda: time.sleep(0.1) or copy.done > before)
    count.stop()
    until(lambda: time.sleep(0.1) or numbers_by_partition(log, "out") == numbers_by_partition(log, "in"))
    copy.stop()
    expected = counted(count.done)
    assert numbers_by_partition(log, "in") == expected
    assert numbers_by_partition(log, "out") == expected


def test_an_idle_reader_notices_that_its_broker_is_gone(own_kafka, tmp_path):
    log = open_log(f"kafka://{own_kafka.bootstrap}", root=tmp_path, environ={})
    log.create("in", 1)
    session = log.session(Seat("g", "read", "c", ("in",), ()))
    session.poll(1, 0.2)
    own_kafka.kill()
    with pytest.raises(Unreachable, match=r"not heard of|does not answer"):
        until(lambda: session.poll(10, 0.5))
    with pytest.raises(Unreachable):
        session.commit({})
    session.close()


def test_a_claim_outlives_a_short_absence_of_the_broker(own_kafka, tmp_path):
    url = f"kafka://{own_kafka.bootstrap}"
    claim = open_log(url, root=tmp_path / "a", environ={}).claim("g", "alpha:1")
    own_kafka.kill()
    until(lambda: time.sleep(0.1) or claim.remaining_s() == 0)
    own_kafka.start()
    until(lambda: time.sleep(0.1) or claim.remaining_s() > 3)
    with pytest.raises(Refused, match="alpha:1"):
        open_log(url, root=Path(tmp_path / "b"), environ={}).claim("g", "beta:2")
    claim.release()
