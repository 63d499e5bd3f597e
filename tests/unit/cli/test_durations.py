from __future__ import annotations

import pytest

from nvisy.cli.durations import ago, seconds
from nvisy.errors import UsageError


@pytest.mark.parametrize(
    ("text", "found"), [("", None), ("30s", 30), ("10m", 600), ("1.5h", 5400), (" 1d ", 86400)]
)
def test_a_duration_has_a_number_and_a_unit(text: str, found: float | None) -> None:
    assert seconds(text) == found


@pytest.mark.parametrize("text", ["10", "m", "-1h", "1w", "1h30m"])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="10m, 2h or 1d"):
        seconds(text)


def test_a_duration_is_said_in_its_largest_unit() -> None:
    assert [ago(one) for one in (5, 60, 7200, 172_800)] == ["5 s", "1 m", "2 h", "2 d"]
