"""Trying again: what may be tried again, how often, and how long to wait in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from nvisy.errors import Rejected, Transient

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a call that failed with `Transient` is repeated. Seconds; `max_retries` None: until it works."""

    max_retries: int | None = 3
    backoff: Literal["fixed", "exponential", "jitter"] = "exponential"
    initial_delay_s: float = 1.0
    max_delay_s: float = 30.0

    def call(
        self,
        function: Callable[[], T],
        *,
        waiting: Callable[[Transient, float], None] = lambda _error, _delay_s: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> T:
        """What `function` returns, once it does. `waiting` is told of every wait; `stopped` ends the trying.

        Raises:
            Transient: The last one, when the policy is used up or `stopped` says so.
            Rejected: As `function` raised it, with the tries before among its attempts.
        """
        attempt = 0
        while True:
            try:
                return function()
            except Rejected as error:
                error.attempts += attempt
                raise
            except Transient as error:
                if attempt == self.max_retries or stopped():
                    raise
                delay_s = self.wait_s(attempt, error)
                waiting(error, delay_s)
                _sleep(delay_s, stopped)
                attempt += 1

    def wait_s(self, attempt: int, error: Transient) -> float:
        """Seconds to wait after failure number `attempt`, counted from 0.

        Where the other side says how long, it is believed: waits do not grow beyond what it asks for.
        """
        delay_s = self._delay(0 if error.retry_after_s else attempt)
        if self.backoff == "jitter":
            delay_s *= random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, keeps no secret
        return max(error.retry_after_s or 0.0, delay_s)

    def _delay(self, attempt: int) -> float:
        growth = 1 if self.backoff == "fixed" else 2 ** min(attempt, 30)
        return min(self.initial_delay_s * growth, self.max_delay_s)


def _sleep(delay_s: float, stopped: Callable[[], bool]) -> None:
    until = time.monotonic() + delay_s
    while not stopped() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
