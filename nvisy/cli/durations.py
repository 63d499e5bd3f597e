"""Durations as people write them: `10m`, `2h`, `1d`."""

from __future__ import annotations

import re

from nvisy.errors import UsageError

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


def seconds(text: str) -> float | None:
    """How many seconds a duration has; None for nothing.

    Raises:
        UsageError: It is no duration.
    """
    if not text:
        return None
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no duration: write a number and s, m, h or d, as in 10m, 2h or 1d")
    return float(found[1]) * _SECONDS[found[2]]


def ago(duration_s: float) -> str:
    """A duration in its largest whole unit, for people."""
    unit = next((name for name in "dhm" if duration_s >= _SECONDS[name]), "s")
    return f"{duration_s / _SECONDS[unit]:.0f} {unit}"
