"""Calls on this machine that may take no longer than the graph says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from nvisy.errors import Fatal, Rejected

T = TypeVar("T")

MAX_LEFT = 16
"""Calls left behind that have not come back, at most: each holds a thread and whatever it works on."""


class Within(Protocol):
    """Makes a call, and returns what it returns."""

    def __call__(self, function: Callable[[], T], /) -> T:  # noqa: D102
        ...


def without_limit(function: Callable[[], T], /) -> T:
    """Make a call that may take as long as it does."""
    return function()


class Deadline:
    """Makes calls one after the other in a thread of its own. One that takes too long is left behind in its thread.

    Python can stop no thread, so the call goes on beside those that follow, until it returns or the process ends.
    """

    def __init__(self, node: str, timeout_s: float) -> None:
        self._node = node
        self._timeout_s = timeout_s
        self._worker: _Worker | None = None
        self._left: list[_Worker] = []

    def call(self, function: Callable[[], T], /) -> T:
        """What `function` returns or raises.

        Raises:
            Rejected: It took too long (kind `timeout`).
            Fatal: Too many calls before it have not come back.
        """
        worker = self._worker = self._worker or _Worker(self._node)
        try:
            returned, error = worker.ask(function, self._timeout_s)
        except Empty:
            self._leave(worker)
            message = (
                f'it took longer than the {self._timeout_s:g} s that the "timeout" of {self._node} allows'
            )
            raise Rejected(message, kind="timeout", retryable=True) from None
        if error is not None:
            raise error
        result: T = returned
        return result

    def _leave(self, worker: _Worker) -> None:
        worker.end()
        self._worker = None
        self._left = [one for one in (*self._left, worker) if one.is_alive()]
        if len(self._left) > MAX_LEFT:
            raise Fatal(
                f"node {self._node}: {len(self._left)} calls took longer than {self._timeout_s:g} s and have not come "
                "back; look for what they wait for"
            )


class _Worker:
    def __init__(self, node: str) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], Any], SimpleQueue[Any]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"calls of {node}", daemon=True)
        self._thread.start()

    def ask(self, function: Callable[[], Any], timeout_s: float) -> tuple[Any, BaseException | None]:
        """What the function returned, or raised; Empty where it took too long."""
        answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._calls.put((function, answer))
        return answer.get(timeout=timeout_s)

    def end(self) -> None:
        """End the thread once its call has returned."""
        self._calls.put(None)

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, answer = call
            try:
                answer.put((function(), None))
            except BaseException as error:  # raised again where the call was made
                answer.put((None, error))
