"""The bounded part of the fault matrix: rows that take a minute or less, on their smallest cells.

`python -m tests.faults --quick` plays the smallest cells of all rows, `make faults` the whole matrix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults.matrix import Row, every_row, play, settings, told
from tests.faults.servers import Servers, servers

SEED = 1
BOUNDED = {"F1", "F12", "F13", "F25", "F28"}


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    with servers() as these:
        yield these


@pytest.mark.timeout(400)
@pytest.mark.parametrize("row", [row for row in every_row() if row.id in BOUNDED], ids=lambda row: row.id)
def test_nothing_is_lost_and_nothing_is_silent(row: Row, started: Servers) -> None:
    for setting in settings(row, SEED, quick=True):
        tally = play(replace(row, ttr_s=None), setting, started)  # how fast it is depends on the machine
        assert tally.passed, told(row, setting, tally, 0.0)
