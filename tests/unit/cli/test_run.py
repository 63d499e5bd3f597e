"""How `nvisy run` ends: its code, its last line, its signals. What a run itself does is tested elsewhere."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from nvisy.cli import run as command
from nvisy.cli.progress import Progress, table
from nvisy.errors import Refused, Unreachable
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.compile import compile_graph
from nvisy.rebuilding.live import LiveRebuild
from nvisy.runtime.counters import Report, StageCounters
from nvisy.runtime.stage_process import StageView
from nvisy.runtime.supervisor import StageFailed
from tests.unit.cli.conftest import Call, write
from tests.unit.graph.fakes import NODES, chain, checked

REPORT = Report(
    run_id="r1",
    graph="docs",
    state="completed",
    nodes={"files": {"in": 1, "out": 1, "filtered": 0, "failed": 0}},
    dead_letters=0,
    written=1234,
    removed=2,
    unchanged=3,
    model_calls=4,
    duration_s=1.25,
)
KEYS = list(REPORT.as_json())


@dataclass
class FakeRun:
    """A run that ends as it is told to."""

    ending: Callable[[FakeRun], Report]
    id: str = "r1"
    stopped: bool = False
    watch: Any = None
    options: Any = None

    def start(self) -> Report:
        return self.ending(self)

    def stop(self) -> None:
        self.stopped = True


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., FakeRun]]:
    """Makes the next run end as given: a report, an error, or what a function of the run does."""

    def set_ending(how: Any) -> FakeRun:
        def end(run: FakeRun) -> Report:
            if isinstance(how, BaseException):
                raise how
            return how(run) if callable(how) else how

        fake = FakeRun(end)

        def made(graph: CheckedGraph, *, watch: Any, **options: Any) -> FakeRun:
            fake.watch, fake.options = watch, options
            return fake

        monkeypatch.setattr(command, "Run", made)
        return fake

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield set_ending
    assert {number: signal.getsignal(number) for number in before} == before


def signalled(*numbers: int) -> Callable[[FakeRun], Report]:
    def end(run: FakeRun) -> Report:
        for number in numbers:
            os.kill(os.getpid(), number)
        assert run.stopped
        return replace(REPORT, state="cancelled")

    return end


def test_the_last_line_of_stdout_is_the_report(nvisy: Call, ending: Any, graph: Path) -> None:
    run = ending(REPORT)
    ended = nvisy("run", graph, "--json", "--follow", "--allow-mass-delete", "--workers", 3, "--join")
    assert ended.code == 0
    assert ended.json() == REPORT.as_json()
    assert len(ended.out.splitlines()) == 1
    usual = {"follow": True, "allow_mass_delete": True, "adopt": False, "workers": 3, "join": True}
    assert run.options == {**usual, "rebuilder": LiveRebuild}


def test_people_get_a_short_summary(nvisy: Call, ending: Any, graph: Path) -> None:
    ending(replace(REPORT, state="degraded", dead_letters=1))
    ended = nvisy("run", graph)
    assert ended.out == (
        "degraded in 1.2 s: 1,234 vectors written, 2 removed, 3 unchanged, 4 texts embedded\n"
        f"1 dead letter: nvisy dlq list {graph}\n"
    )
    assert ended.code == 4


def test_dead_letters_may_be_allowed(nvisy: Call, ending: Any, graph: Path) -> None:
    ending(replace(REPORT, state="degraded", dead_letters=1))
    assert nvisy("run", graph, "--allow-dead-letters").code == 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("no broker"), 3),
        (Refused("held by another run"), 6),
        (StageFailed("text", "the store is gone", 3), 3),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_a_failure_ends_with_an_object_too(
    nvisy: Call, ending: Any, graph: Path, error: Exception, code: int
) -> None:
    ending(error)
    ended = nvisy("run", graph, "--json")
    assert ended.code == code
    said = ended.json()
    assert list(said) == [*KEYS, "error", "exit_code"]
    assert (said["state"], said["run_id"], said["graph"], said["exit_code"]) == ("failed", "r1", "docs", code)
    assert str(error) in said["error"]
    assert str(error) in ended.err


def test_a_graph_that_is_wrong_ends_with_an_object_too(nvisy: Call, tmp_path: Path) -> None:
    write(tmp_path, chain(chunk={**NODES["chunk"], "action": "chnk"}))
    ended = nvisy("run", "graph.json", "--json")
    assert ended.code == 1
    assert (ended.json()["state"], ended.json()["run_id"]) == ("failed", None)
    assert 'unknown action "chnk"' in ended.json()["error"]


def test_sigterm_drains_and_exits_with_0(nvisy: Call, ending: Any, graph: Path) -> None:
    ending(signalled(signal.SIGTERM))
    ended = nvisy("run", graph, "--json")
    assert (ended.code, ended.json()["state"]) == (0, "cancelled")


def test_sigint_drains_and_exits_with_130(nvisy: Call, ending: Any, graph: Path) -> None:
    ending(signalled(signal.SIGINT))
    assert nvisy("run", graph).code == 130


def test_a_second_sigint_ends_the_run_where_it_is(nvisy: Call, ending: Any, graph: Path) -> None:
    ending(signalled(signal.SIGINT, signal.SIGINT))
    ended = nvisy("run", graph, "--json")
    assert (ended.code, ended.json()["error"]) == (130, "interrupted")


def views(plan: Any) -> dict[str, StageView]:
    seen = {stage.id: StageView(stage, status="running") for stage in plan.stages}
    counters = StageCounters(model_calls=5)
    counters.node("text").received = 10
    counters.node("text").failed = 1
    seen["text"].counters = counters
    seen["text"].lag = 7
    seen["index"].waiting = "the store [x] does not answer"
    return seen


def test_progress_shows_every_node_once_in_the_order_of_the_data() -> None:
    plan = compile_graph(checked(chain()))
    seen = Progress()
    seen.watch(plan, views(plan))
    lines = list(seen.lines())
    assert [line.node for line in lines] == ["files", "text", "chunk", "embed", "index"]
    assert (lines[1].received, lines[1].failed, lines[1].lag) == (10, 1, 7)
    assert lines[4].status == r"waiting: the store \[x] does not answer"
    assert seen.counters().model_calls == 5
    assert table(lines).row_count == 5


def test_away_from_a_terminal_progress_is_a_line_of_json_on_stderr(
    nvisy: Call, ending: Any, graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = compile_graph(checked(chain()))

    def end(run: FakeRun) -> Report:
        run.watch(plan, views(plan))
        return REPORT

    ending(end)
    monkeypatch.setattr(command, "progress", _immediate)
    ended = nvisy("run", graph)
    (line,) = [json.loads(line) for line in ended.err.splitlines()]
    assert line["event"] == "progress"
    assert line["nodes"]["text"] == {"in": 10, "out": 0, "failed": 1, "rate": 0.0, "lag": 7}
    assert line["waiting"] == {"index": "the store [x] does not answer"}


class _immediate:  # noqa: N801 - stands in for a function
    def __enter__(self) -> Progress:
        return Progress(every_s=0.0)

    def __exit__(self, *_: object) -> None:
        return None
