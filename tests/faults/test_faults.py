"""The bounded part of the fault matrix: every row that has one, on its smallest cells."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.matrix import Row, every_row, play, settings, told
from tests.faults.servers import Servers, servers

SEED = 1


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    with servers() as these:
        yield these


@pytest.mark.timeout(400)
@pytest.mark.parametrize("row", [row for row in every_row() if row.quick], ids=lambda row: row.id)
def test_nothing_is_lost_and_nothing_is_silent(row: Row, started: Servers) -> None:
    for setting in settings(row, SEED, quick=True):
        tally = play(row, setting, started)
        assert tally.passed, told(row, setting, tally, 0.0)
