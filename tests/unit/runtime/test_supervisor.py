"""The supervisor over stage processes that say what a test has them say."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Stage
from nvisy.runtime import stage_process, supervisor
from nvisy.runtime.messages import StageSpec, line
from nvisy.runtime.supervisor import StageFailed, Supervisor
from tests.unit.graph.fakes import chain, checked

PLAN = compile_graph(checked(chain()))


class Said:
    """A stage process that has said this, and ended."""

    def __init__(self, *messages: bytes, code: int) -> None:
        self.stdin = io.BytesIO()
        self.stdout = io.BytesIO(b"".join(messages))
        self._code = code
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> int:
        self.returncode = self._code
        return self._code

    def kill(self) -> None:
        raise AssertionError("it has ended")


class NoRequests:
    def new_requests(self) -> tuple[()]:
        return ()

    def standing_requests(self) -> tuple[()]:
        return ()


def lost_its_partitions(exit_code: int) -> Said:
    failed = line("failed", error="nobody heard of h:1 for too long", exit_code=exit_code, again=True)
    return Said(failed, code=exit_code)


def supervise(**options: Any) -> Supervisor:
    def spec(stage: Stage) -> StageSpec:
        return StageSpec("{}", "", "", stage.id, "run", 1, None, "")

    return Supervisor(PLAN, SimpleNamespace(), spec, requests=NoRequests(), **options)  # type: ignore[arg-type]


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every stage process loses its partitions as soon as it is started, and there is no time to wait."""
    monkeypatch.setattr(stage_process, "STAGES", SimpleNamespace(start=lambda: lost_its_partitions(3)))
    monkeypatch.setattr(supervisor, "CLAIM_WAIT_S", 0.3)


@pytest.mark.usefixtures("calm")
def test_a_bounded_run_that_cannot_know_whether_it_holds_its_graph_says_so_and_ends():
    with pytest.raises(StageFailed, match=r"nobody heard of h:1.*claim on the graph") as failed:
        supervise(follow=False, holds_claim=lambda: False).run()
    assert failed.value.exit_code == 3


@pytest.mark.usefixtures("calm")
def test_one_that_is_followed_waits_until_it_knows():
    asked: list[bool] = []
    run = supervise(
        follow=True,
        holds_claim=lambda: bool(asked.append(True)),
        watch=lambda _: len(asked) > 8 and run.stop(),
    )
    run.run()
    assert len(asked) > 8
    assert {view.status for view in run.views().values()} == {"done"}


@pytest.mark.usefixtures("calm")
def test_one_that_holds_its_graph_starts_the_stage_again_and_not_without_end():
    with pytest.raises(StageFailed, match="nobody heard of h:1"):
        supervise(follow=False).run()
