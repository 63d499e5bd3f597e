"""The breaker: who tries again while another system is down, and when a call is at fault itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from nvisy.errors import Fatal, Rejected, Transient
from nvisy.runtime.outage import OPEN_AT, Breaker
from nvisy.runtime.outlets import Patience
from nvisy.runtime.retry import RetryPolicy

QUICK = RetryPolicy(max_retries=3, initial_delay_s=0.01, max_delay_s=0.05)


class Server:
    """Down while `down`; counts calls, and how many were under way at once."""

    def __init__(self) -> None:
        self.down = True
        self.up_after: int | None = None
        self.calls = 0
        self.harmless = 0
        self.most = 0
        self.now = 0
        self._lock = threading.Lock()

    def call(self) -> str:
        with self._lock:
            self.calls += 1
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self._lock:
            self.now -= 1
        if self.up_after is not None and self.calls > self.up_after:
            self.down = False
        if self.down:
            raise Transient("it is down")
        return "answer"

    def is_up(self) -> bool:
        self.harmless += 1
        return not self.down


def breaker(
    server: Server,
    retry: RetryPolicy = QUICK,
    *,
    follow: bool = False,
    said: list[str] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Breaker:
    def waiting(error: Transient, _delay_s: float) -> None:
        if said is not None:
            said.append(str(error))

    return Breaker(retry, Patience(RetryPolicy(None if follow else 8), waiting, stopped), server.is_up)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def test_a_call_is_repeated_until_it_passes() -> None:
    server, said = Server(), []
    server.up_after = 6
    assert breaker(server, follow=True, said=said).call(server.call) == "answer"
    assert server.calls == 7
    assert set(said) == {"it is down"}


def test_a_policy_that_is_used_up_ends_it() -> None:
    server = Server()
    with pytest.raises(Transient, match="it is down"):
        breaker(server).call(server.call)
    assert server.calls == 4


def test_while_it_is_down_one_call_at_a_time_tries_and_then_all_pass() -> None:
    server = Server()
    one = breaker(server, follow=True)
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(one.call(server.call))) for _ in range(16)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: one._rounds >= OPEN_AT and server.now <= 1)
        server.most, tried = 0, server.calls
        until(lambda: server.calls >= tried + 6)
        assert server.most == 1
    finally:
        server.down = False
        for thread in threads:
            thread.join(60)
    assert answers == ["answer"] * 16


def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    server = Server()
    server.down = False
    refusals = [Transient("slower", retry_after_s=0.3)]

    def call() -> str:
        if refusals:
            raise refusals.pop()
        return server.call()

    started = time.monotonic()
    assert breaker(server).call(call) == "answer"
    assert time.monotonic() - started >= 0.3


def test_a_call_that_fails_while_the_server_answers_is_at_fault_itself() -> None:
    server = Server()
    server.down = False

    def call() -> None:
        raise Transient("it fell over")

    with pytest.raises(Rejected, match="while other calls pass: it fell over") as caught:
        breaker(server, follow=True).call(call)
    assert caught.value.retryable
    assert server.harmless == 3


def test_a_call_that_outlives_an_outage_is_not_at_fault() -> None:
    server = Server()
    down = [True] * 7

    def call() -> str:
        if down:
            down.pop()
            server.down = bool(down)
            raise Transient("it is down")
        return "answer"

    assert breaker(server, follow=True).call(call) == "answer"


def test_a_call_that_is_asked_to_wait_is_never_at_fault() -> None:
    server = Server()
    server.down = False
    refusals = [Transient("slower", retry_after_s=0.0) for _ in range(12)]

    def call() -> str:
        if refusals:
            raise refusals.pop()
        return "answer"

    assert breaker(server, follow=True).call(call) == "answer"
    assert server.harmless == 0


@pytest.mark.parametrize("error", [Rejected("no"), Fatal("never")])
def test_what_no_repeating_helps_is_raised_at_once(error: Exception) -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        breaker(Server()).call(call)
    assert calls == [1]


def test_an_order_to_stop_ends_the_waiting() -> None:
    server = Server()
    stop = threading.Event()
    one = breaker(server, RetryPolicy(3, initial_delay_s=60), follow=True, stopped=stop.is_set)
    threading.Timer(0.1, stop.set).start()
    started = time.monotonic()
    with pytest.raises(Transient):
        one.call(server.call)
    assert time.monotonic() - started < 60


def test_a_rejection_counts_the_calls_that_failed_before_it() -> None:
    server = Server()
    server.down = False
    answers: list[Exception] = [Transient("not now"), Rejected("never")]

    def call() -> str:
        raise answers.pop(0)

    with pytest.raises(Rejected) as caught:
        breaker(server).call(call)
    assert caught.value.attempts == 2
