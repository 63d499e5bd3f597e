"""Deadlines of calls on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nvisy.errors import Fatal, Rejected, Transient
from nvisy.runtime import deadline
from nvisy.runtime.deadline import Deadline


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Set when the test ends, so that no thread outlives it."""
    event = threading.Event()
    yield event
    event.set()


def test_a_call_in_time_gives_what_it_returns_or_raises() -> None:
    limit = Deadline("slow", 5)
    assert limit.call(lambda: 7) == 7

    def fails() -> None:
        raise Transient("not now")

    with pytest.raises(Transient, match="not now"):
        limit.call(fails)


def test_calls_in_time_share_a_thread() -> None:
    limit = Deadline("slow", 5)
    assert limit.call(threading.get_ident) == limit.call(threading.get_ident) != threading.get_ident()


def test_a_call_that_takes_too_long_is_left_and_the_next_is_made(released: threading.Event) -> None:
    limit = Deadline("slow", 0.02)
    with pytest.raises(
        Rejected, match=r'longer than the 0\.02 s that the "timeout" of slow allows'
    ) as caught:
        limit.call(released.wait)
    assert (caught.value.kind, caught.value.retryable) == ("timeout", True)
    assert Deadline("slow", 5).call(lambda: 7) == 7


def test_calls_that_do_not_come_back_are_bounded(
    released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "MAX_LEFT", 2)
    limit = Deadline("slow", 0.01)
    for _ in range(2):
        with pytest.raises(Rejected):
            limit.call(released.wait)
    with pytest.raises(Fatal, match=r"3 calls took longer than 0\.01 s and have not come back"):
        limit.call(released.wait)
