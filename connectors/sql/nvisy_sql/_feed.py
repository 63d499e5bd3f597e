"""A thread that takes in the replication stream, and keeps the server content while nobody reads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence

from nvisy_sql._replication import Keepalive, Replication

MAX_BYTES = 8 << 20
"""So much may wait to be read; then the server waits too."""
STATUS_S = 1.0
_POLL_S = 0.05
_PER_MESSAGE_BYTES = 64


class Feed:
    """Messages in the order in which they came, within a bound; answers the server whether they are read or not."""

    def __init__(self, replication: Replication, lsn: int) -> None:
        self._replication = replication
        self._waiting: deque[bytes | Keepalive] = deque()
        self._n_bytes = 0
        self._changed = threading.Condition()
        self._durable = lsn
        self._received = lsn
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="replication", daemon=True)
        self._thread.start()

    def take(self, most: int, timeout_s: float) -> Sequence[bytes | Keepalive]:
        """Up to `most` messages; none when none came in time. Raises what the stream died of, once all were taken."""
        with self._changed:
            if not self._waiting and self._error is None:
                self._changed.wait(timeout_s)
            if not self._waiting and self._error is not None:
                raise self._error
            taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
            self._n_bytes -= sum(map(_size, taken))
            return taken

    def confirm(self, lsn: int) -> None:
        """Everything before `lsn` is durable."""
        self._durable = max(self._durable, lsn)

    def close(self) -> None:
        """End the thread and the connection. May be called twice."""
        self._stopping.set()
        self._thread.join()
        self._replication.close()

    def _run(self) -> None:
        due = 0.0
        told = -1
        try:
            while not self._stopping.is_set():
                if self._n_bytes < MAX_BYTES:
                    if not self._drain():
                        self._replication.wait(_POLL_S)
                else:
                    self._stopping.wait(_POLL_S)
                if time.monotonic() >= due or (told != self._durable and not self._waiting):
                    told = self._durable
                    self._replication.confirm(max(self._received, told), told, reply=True)
                    due = time.monotonic() + STATUS_S
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _drain(self) -> bool:
        """Take in what has arrived. Returns whether there was anything."""
        arrived: list[bytes | Keepalive] = []
        n_bytes = 0
        while n_bytes < MAX_BYTES // 8 and (message := self._replication.receive()) is not None:
            arrived.append(message)
            n_bytes += _size(message)
            if isinstance(message, Keepalive):
                self._received = max(self._received, message.lsn)
        with self._changed:
            self._waiting.extend(arrived)
            self._n_bytes += n_bytes
            self._changed.notify_all()
        return bool(arrived)


def _size(message: bytes | Keepalive) -> int:
    return _PER_MESSAGE_BYTES + (len(message) if isinstance(message, bytes) else 0)
