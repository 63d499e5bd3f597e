"""Stages on threads of their own, which open a new session where the supervisor would have them do so.

That is whenever the log does not answer, or only thinks that another process has their seat.
"""

import threading
import time

from nvisy.errors import SeatTaken, Unreachable
from nvisy.topics.log import Append, Log, Seat
from tests.topics.drive import after, numbers

PARTITIONS = 2


class Stage(threading.Thread):
    """Works in sessions that it opens anew whenever one is over, until it is told to stop."""

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
            except (Unreachable, SeatTaken):
                self.reopened += 1
                time.sleep(0.1)
            except Exception as error:
                self.failure = error
                return

    def _work(self, session) -> None:
        raise NotImplementedError("each kind of stage below works in its own way")


class Count(Stage):
    """Appends the numbers from 0 on, from where its state says it was."""

    def _work(self, session) -> None:
        n = int(session.state().get("n", b"0"))
        topic = self._seat.outputs[0]
        session.append([Append(topic, i % PARTITIONS, b"k%d" % i, b"%d" % i) for i in range(n, n + 50)])
        session.commit({}, {"n": b"%d" % (n + 50)})
        self.done = n + 50
        time.sleep(0.01)


class Copy(Stage):
    """Copies its input to its output."""

    def _work(self, session) -> None:
        found = session.poll(500, 0.1)
        if found:
            session.append([Append(self._seat.outputs[0], r.partition, r.key, r.value) for r in found])
            session.commit(after(found))
            self.done += len(found)


def numbers_by_partition(log: Log, topic: str) -> list[list[int]]:
    """What is in the topic; nothing at all while the log does not answer."""
    try:
        found = list(log.scan(topic))
    except Unreachable:
        return []
    return [numbers(record for record in found if record.partition == p) for p in range(PARTITIONS)]


def counted(count: int) -> list[list[int]]:
    """What `Count` has appended when it has come to `count`."""
    return [[n for n in range(count) if n % PARTITIONS == p] for p in range(PARTITIONS)]
