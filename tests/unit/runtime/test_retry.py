"""How long a call that failed waits."""

from __future__ import annotations

import pytest

from nvisy.errors import Transient
from nvisy.runtime.retry import RetryPolicy


@pytest.mark.parametrize(
    ("asked_s", "waits_s"),
    [(None, [1.0, 2.0, 4.0, 4.0]), (2.5, [2.5, 2.5, 2.5, 2.5]), (0.1, [1.0, 1.0, 1.0, 1.0])],
)
def test_waits_grow_unless_the_other_side_says_how_long(asked_s: float | None, waits_s: list[float]) -> None:
    policy = RetryPolicy(initial_delay_s=1.0, max_delay_s=4.0)
    error = Transient("too much", retry_after_s=asked_s)
    assert [policy.wait_s(attempt, error) for attempt in range(4)] == waits_s
