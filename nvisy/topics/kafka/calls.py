"""Calls that may hang, made on a thread of their own and given up after a while.

The client's transactional calls have been seen to hang past their own timeouts while a broker restarts.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from nvisy.errors import Unreachable

T = TypeVar("T")

_Answers: TypeAlias = "queue.SimpleQueue[tuple[Any, BaseException | None]]"
_Job: TypeAlias = tuple[Callable[[], Any], _Answers]


class Caller:
    """Makes one call at a time. After a call that hung it takes no other; its thread ends with the process."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._over = ""
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def call(self, doing: str, timeout_s: float, function: Callable[[], T]) -> T:
        """What `function` returns or raises.

        Raises:
            Unreachable: It has not come back after `timeout_s` seconds, or an earlier one never did, or it was closed.
        """
        if self._over:
            raise Unreachable(f"{doing}: {self._over}")
        answers: _Answers = queue.SimpleQueue()
        self._jobs.put((function, answers))
        try:
            result, error = answers.get(timeout=timeout_s)
        except queue.Empty:
            self._over = "an earlier call never came back"
            raise Unreachable(f"{doing}: no answer after {timeout_s:.0f} s") from None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def close(self) -> None:
        """End the thread once it is idle."""
        self._over = self._over or "it was closed"
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, answers = job
            try:
                answers.put((function(), None))
            except BaseException as error:
                answers.put((None, error))
            del job, function, answers
