"""Which dead letters a command is about."""

from __future__ import annotations

import pytest

from nvisy.errors import UsageError
from nvisy.runtime.selection import Selection
from tests.unit.runtime.letters import letter

LETTERS = [
    letter("0-0", key="a.md", node="text", kind="decode", failed_at_ms=1_000),
    letter("1-0", key="b.md", node="embed", kind="timeout", retryable=True, failed_at_ms=60_000),
    letter("0-1", key="a.md", node="embed", kind="timeout", retryable=True, failed_at_ms=90_000),
]


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(), ["0-0", "1-0", "0-1"]),
        (Selection(ids=("0-1", "0-0")), ["0-0", "0-1"]),
        (Selection(node="embed"), ["1-0", "0-1"]),
        (Selection(kind="decode"), ["0-0"]),
        (Selection(retryable=False), ["0-0"]),
        (Selection(retryable=True, key="a.md"), ["0-1"]),
        (Selection(older_than_s=40), ["0-0", "1-0"]),
        (Selection(newer_than_s=40), ["1-0", "0-1"]),
        (Selection(node="files"), []),
    ],
)
def test_a_letter_that_meets_every_condition_is_meant(selection: Selection, chosen: list[str]) -> None:
    assert [one.id for one in selection.of(LETTERS, now_s=100)] == chosen


def test_an_id_that_is_not_open_is_said() -> None:
    with pytest.raises(UsageError, match="no open dead letter 7-7"):
        Selection(ids=("0-0", "7-7")).of(LETTERS)
