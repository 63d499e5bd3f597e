from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nvisy.runtime.fork_server import ForkedProcess, ForkServer

PATIENCE_S = 60.0


Start = Callable[[], ForkedProcess]
STARTER = """
import time
from nvisy.runtime.fork_server import STAGES
stage = STAGES.start()
print(stage.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def start(server: ForkServer) -> Iterator[Start]:
    """Starts stages, which are ended with the test."""
    stages: list[ForkedProcess] = []

    def start() -> ForkedProcess:
        stages.append(server.start())
        return stages[-1]

    yield start
    for stage in stages:
        stage.kill()
        stage.wait()
        stage.stdin.close()
        stage.stdout.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def keeper_of(stage: ForkedProcess) -> psutil.Process:
    parent = psutil.Process(stage.pid).parent()
    assert parent is not None
    return parent


def test_a_stage_waits_for_its_orders_and_ends_with_them(start: Start):
    stage = start()
    assert stage.poll() is None
    stage.stdin.close()
    assert stage.wait() == 1
    assert stage.poll() == stage.returncode == 1
    assert stage.stdout.read() == b""


def test_a_stage_that_is_killed_says_by_what(start: Start):
    stage = start()
    stage.kill()
    assert stage.wait() == -signal.SIGKILL
    stage.kill()


def test_orders_that_make_no_sense_are_a_defect_that_is_shown(
    start: Start, capfd: pytest.CaptureFixture[str]
):
    stage = start()
    stage.stdin.write(b"{}\n")
    stage.stdin.flush()
    assert stage.wait() == 1
    assert "Traceback" in capfd.readouterr().err


def test_stages_come_from_one_process_and_end_apart(start: Start):
    stages = [start() for _ in range(3)]
    assert len({keeper_of(stage) for stage in stages}) == 1
    until(lambda: len({os.getsid(stage.pid) for stage in stages}) == 3)
    stages[0].stdin.close()
    assert stages[0].wait() == 1
    assert [stage.poll() for stage in stages[1:]] == [None, None]


def test_a_stage_is_in_the_folder_of_its_start(
    start: Start, server: ForkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.warm()
    monkeypatch.chdir(tmp_path)
    stage = start()
    until(lambda: psutil.Process(stage.pid).cwd() == str(tmp_path))


def test_a_server_that_dies_takes_its_stages_along_and_the_next_stage_has_another(start: Start):
    stage = start()
    keeper = keeper_of(stage)
    keeper.kill()
    assert stage.wait() == -signal.SIGKILL
    assert is_gone(stage.pid)
    after = start()
    assert keeper_of(after) != keeper


def test_stages_and_server_end_with_whoever_started_them():
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    with starter.stdout:
        pid = int(starter.stdout.readline())
    keeper = psutil.Process(pid).parent()
    assert keeper is not None
    starter.kill()
    starter.wait()
    until(lambda: is_gone(pid) and is_gone(keeper.pid))


def test_a_server_has_one_thread_as_a_fork_copies_no_other(start: Start):
    stage = start()
    assert keeper_of(stage).num_threads() == 1
