"""A broker that dies ends sessions, and new ones go on with nothing lost and nothing doubled."""

import threading
import time
from pathlib import Path

import pytest

from nvisy.errors import Refused, Unreachable
from nvisy.topics.log import Append, Log, Seat
from nvisy.topics.open import open_log
from tests.topics.drive import after, numbers, until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

_PARTITIONS = 2


class _Stage(threading.Thread):
    """Works in sessions that it opens anew whenever the log does not answer, until it is told to stop."""

    def __init__(self, log: Log, seat: Seat) -> None:
        super().__init__(daemon=True)
        self._log, self._seat = log, seat
        self._stop_asked = threading.Event()
        self.reopened = 0
        self.done = 0
        self.failure: Exception | None = None

    def stop(self) -> None:
        self._stop_asked.set()
        self.join(60)
        assert not self.is_alive()
        assert self.failure is None

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                session = self._log.session(self._seat)
                try:
                    while not self._stop_asked.is_set():
                        self._work(session)
                finally:
                    session.close()
            except Unreachable:
                self.reopened += 1
                time.sleep(0.1)
            except Exception as error:
                self.failure = error
                return

    def _work(self, session) -> None:
        raise NotImplementedError


class _Count(_Stage):
    """Appends the numbers from 0 on, from where its state says it was."""

    def _work(self, session) -> None:
        n = int(session.state().get("n", b"0"))
        topic = self._seat.outputs[0]
        session.append([Append(topic, i % _PARTITIONS, b"k%d" % i, b"%d" % i) for i in range(n, n + 50)])
        session.commit({}, {"n": b"%d" % (n + 50)})
        self.done = n + 50
        time.sleep(0.01)


class _Copy(_Stage):
    """Copies its input to its output."""

    def _work(self, session) -> None:
        found = session.poll(500, 0.1)
        if found:
            session.append([Append(self._seat.outputs[0], r.partition, r.key, r.value) for r in found])
            session.commit(after(found))
            self.done += len(found)


def test_a_killed_broker_loses_nothing_and_doubles_nothing(own_kafka, tmp_path):
    url = f"kafka://{own_kafka.bootstrap}"
    log = open_log(url, root=tmp_path, environ={})
    log.create("in", _PARTITIONS)
    log.create("out", _PARTITIONS)
    count = _Count(open_log(url, root=tmp_path, environ={}), Seat("g", "count", "c", (), ("in",)))
    copy = _Copy(open_log(url, root=tmp_path, environ={}), Seat("g", "copy", "c", ("in",), ("out",)))
    count.start()
    copy.start()
    until(lambda: time.sleep(0.05) or copy.done > 500)
    own_kafka.kill()
    until(lambda: time.sleep(0.1) or count.reopened > 0)
    own_kafka.start()
    before = count.done
    began = time.monotonic()
    until(lambda: time.sleep(0.1) or count.done > before + 200)
    until(lambda: time.sleep(0.1) or copy.done > before)
    assert time.monotonic() - began < 30
    count.stop()
    until(lambda: time.sleep(0.1) or _all(log, "out") == _all(log, "in"))
    copy.stop()
    expected = [[n for n in range(count.done) if n % _PARTITIONS == p] for p in range(_PARTITIONS)]
    assert _all(log, "in") == expected
    assert _all(log, "out") == expected


def _all(log: Log, topic: str) -> list[list[int]]:
    try:
        found = list(log.scan(topic))
    except Unreachable:
        return []
    return [numbers(record for record in found if record.partition == p) for p in range(_PARTITIONS)]


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
