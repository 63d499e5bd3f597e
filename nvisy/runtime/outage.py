"""Calls to a system that may be down: who tries again, when, and when it is the call's own fault."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from nvisy.errors import Rejected, Transient
from nvisy.runtime.outlets import Patience
from nvisy.runtime.retry import RetryPolicy

T = TypeVar("T")

OPEN_AT = 2
"""Failures in a row, no two of them under way together, after which one call at a time tries."""
BLAMED = 3
"""So often a call must fail, and the other side answer right after, before the call is at fault."""
_TURN_S = 0.1


class Breaker:
    """Makes calls, repeats those that fail, and waits while the other side is down.

    A call that fails while others pass waits and is repeated alone. When nothing passes, the breaker is open: one call
    at a time tries, after ever longer waits, until one passes or the policy is used up. A call that has used its
    retries up while the other side answers harmless questions is no victim of an outage: it is rejected, so that what
    is wrong with it can be found. Any number of threads may use one breaker.
    """

    def __init__(self, retry: RetryPolicy, patience: Patience, is_up: Callable[[], bool]) -> None:
        """Repeats as `retry` says, for ever where `patience` is without end.

        Args:
            retry: The node's policy.
            patience: Who is told of waits, what stops them, and whether they have an end.
            is_up: Asks the other side something harmless: whether it answers.
        """
        self._retry = retry
        self._patience = patience
        self._is_up = is_up
        self._state = threading.Condition()
        self._rounds = 0
        self._round_began = 0.0
        self._open_until = 0.0
        self._probing = False

    def call(self, function: Callable[[], T]) -> T:
        """What `function` returns, once it does.

        Raises:
            Transient: The other side stayed down for as long as the policy allows, or the run is to stop.
            Rejected: `function` said so, or it alone goes on failing.
        """
        with self._patience.activity.asking():
            return self._called(function)

    def _called(self, function: Callable[[], T]) -> T:
        failures = blamed = 0
        while True:
            probing = self._enter()
            began = time.monotonic()
            try:
                result = function()
            except Transient as error:
                failures += 1
                delay_s = self._failed(error, failures, began, probing)
                blamed = blamed + 1 if self._is_at_fault(error, failures) else 0
                if blamed == BLAMED:
                    raise _at_fault(error, failures) from error
                self._give_up(error)
                self._wait(error, delay_s)
            except BaseException as error:
                if isinstance(error, Rejected):
                    error.attempts += failures
                self._leave(probing, passed=isinstance(error, Rejected))
                raise
            else:
                self._leave(probing, passed=True)
                return result

    def _enter(self) -> bool:
        """Wait until a call may be made. Returns whether it is the one that tries."""
        with self._state:
            while self._rounds >= OPEN_AT:
                if self._patience.stopped():
                    raise Transient("the run is to stop")
                if not self._probing and time.monotonic() >= self._open_until:
                    self._probing = True
                    return True
                self._state.wait(_TURN_S)
            return False

    def _leave(self, probing: bool, *, passed: bool) -> None:
        with self._state:
            if probing:
                self._probing = False
            if passed:
                self._rounds = 0
            self._state.notify_all()

    def _failed(self, error: Transient, failures: int, began: float, probing: bool) -> float:
        """Count a failed call. Returns the seconds until it may be repeated."""
        with self._state:
            if probing:
                self._probing = False
            if began >= self._round_began:  # else it failed together with one that was counted
                self._rounds += 1
                self._round_began = time.monotonic()
            delay_s = self._retry.wait_s(max(self._rounds, failures) - 1, error)
            self._open_until = time.monotonic() + delay_s
            return delay_s

    def _is_at_fault(self, error: Transient, failures: int) -> bool:
        """Whether the call has used its retries up, and the other side is there nevertheless."""
        retries = self._retry.max_retries
        asked_to_wait = error.retry_after_s is not None
        if retries is None or failures <= retries or asked_to_wait or not self._is_up():
            return False
        self._leave(probing=False, passed=True)
        return True

    def _give_up(self, error: Transient) -> None:
        """Raise where no call may be repeated."""
        retries, ends = self._retry.max_retries, self._patience.retry.max_retries is not None
        if self._patience.stopped() or (ends and retries is not None and self._rounds > retries):
            raise error

    def _wait(self, error: Transient, delay_s: float) -> None:
        self._patience.waiting(error, delay_s)
        until = time.monotonic() + delay_s
        while self._rounds < OPEN_AT and not self._patience.stopped():
            if (left := until - time.monotonic()) <= 0:
                return
            time.sleep(min(left, _TURN_S))  # once the breaker is open, all wait together instead


def _at_fault(error: Transient, failures: int) -> Rejected:
    said = f"it failed {failures} times while other calls pass: {error}"
    rejected = Rejected(said, kind="model", retryable=True)
    rejected.attempts = failures
    return rejected
