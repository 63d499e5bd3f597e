"""What a run refuses before it touches anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvisy.errors import UsageError
from nvisy.runtime.run import Run
from nvisy.runtime.settings import Settings
from tests.unit.graph.fakes import chain, checked


@pytest.mark.parametrize(
    ("options", "why"),
    [({}, "add --follow"), ({"follow": True, "adopt": True}, "--adopt is for a run of its own")],
)
def test_only_a_run_that_goes_on_and_adopts_nothing_can_join(options: dict[str, bool], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Run(checked(chain()), join=True, **options)


def test_nobody_joins_on_a_log_of_one_machine(tmp_path: Path) -> None:
    run = Run(checked(chain()), join=True, follow=True, settings=Settings(tmp_path))
    with pytest.raises(UsageError, match="NVISY_LOG=kafka"):
        run.start()
    assert not list(tmp_path.iterdir())
