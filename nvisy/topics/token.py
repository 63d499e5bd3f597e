"""Fence tokens: each higher than the one before, also when the log that remembers them is an older copy."""

from __future__ import annotations

import time


def token_after(last: int) -> int:
    """The token of a claim that follows one with token `last` (0: there was none).

    The clock carries it past what an older copy of the log no longer knows; that a clock may be wrong is why `last`
    counts too. Milliseconds fit into 2^53 for some 280,000 years.
    """
    return max(last + 1, time.time_ns() // 1_000_000)
