"""None of the thirty failures is forgotten."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = (ROOT / "docs" / "decisions" / "0017-thirty-failures.md").read_text()
ROWS = {int(number): last for number, last in re.findall(r"^\| (\d+) \|.*\| (.*) \|$", RECORD, re.MULTILINE)}


def test_the_record_lists_thirty() -> None:
    assert list(ROWS) == list(range(1, 31))


@pytest.mark.parametrize("number", ROWS)
def test_a_failure_is_played_where_the_record_says_or_cannot_happen(number: int) -> None:
    files = re.findall(r"`([\w/]+\.py)`", ROWS[number])
    for file in files:
        assert f"def test_failure_{number:02}_" in (ROOT / file).read_text(), file
    says_why = f"\n**{number}.** " in RECORD
    assert says_why is ("reason" in ROWS[number])
    assert files or says_why
