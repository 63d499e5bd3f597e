"""What a run refuses before it touches anything, and what it tells its stages."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvisy.errors import UsageError
from nvisy.runtime.run import Run
from nvisy.runtime.settings import Settings
from tests.unit.graph.fakes import NODES, chain, checked


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


@pytest.mark.parametrize(
    ("timeouts_ms", "hang_s"),
    [
        ({}, 60.0),
        ({"text": 1_000}, 60.0),
        ({"text": 600_000}, 605.0),
        ({"text": 1_000, "chunk": 2_000, "embed": 3_000}, 8.0),
    ],
)
def test_a_stage_may_be_still_for_longer_than_any_of_its_calls_may_take(
    timeouts_ms: dict[str, int], hang_s: float, tmp_path: Path
) -> None:
    limited = {
        node: {**NODES[node], "timeout": {"nodeTimeoutMs": limit}} for node, limit in timeouts_ms.items()
    }
    run = Run(checked(chain(**limited)), settings=Settings(tmp_path, hang_s=60.0))
    assert run._hang_s(run.plan.stage("text")) == hang_s
