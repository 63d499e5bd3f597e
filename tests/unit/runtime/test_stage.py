"""A stage obeys its supervisor."""

from __future__ import annotations

import pytest

from nvisy.runtime.messages import StageSpec
from nvisy.runtime.stage import StageRunner


def test_an_order_that_cannot_be_carried_out_ends_the_stage_which_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = StageSpec("{}", "", "", "index", "run", 1, None, "")
    runner = StageRunner(spec, lambda _line: None)
    monkeypatch.setattr(runner, "_live", runner._go.wait)
    runner.obey({"kind": "replay"})
    with pytest.raises(KeyError, match="letters"):
        runner.run()
