import threading

import pytest

from nvisy.errors import Unreachable
from nvisy.topics.kafka.calls import Caller


def test_a_call_returns_and_raises_what_the_function_does():
    caller = Caller("test")
    assert caller.call("counting", 5, lambda: 1 + 1) == 2
    with pytest.raises(ZeroDivisionError):
        caller.call("dividing", 5, lambda: 1 // 0)
    assert caller.call("counting", 5, lambda: 3) == 3
    caller.close()
    with pytest.raises(Unreachable, match="closed"):
        caller.call("counting", 5, lambda: 4)


def test_a_call_that_hangs_is_given_up_and_none_is_made_after_it():
    caller = Caller("test")
    release = threading.Event()
    with pytest.raises(Unreachable, match="waiting: no answer"):
        caller.call("waiting", 0.05, release.wait)
    with pytest.raises(Unreachable, match="counting"):
        caller.call("counting", 5, lambda: 1)
    release.set()
    caller.close()
