"""Hosts that run a graph together: each a process with a folder of its own, as on a machine of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from nvisy.catalog import Catalog
from nvisy.graph.model import Graph
from nvisy.graph.validate import check
from nvisy.plan.compile import compile_graph
from nvisy.runtime.status import GraphStatus, status_of
from tests.flow.pipeline import Pipeline, text

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
WITHIN_S = 120.0


class Hosts:
    """Starts hosts, and ends those that are left."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> subprocess.Popen[bytes]:
        """`nvisy run --follow --join` on this host."""
        graph = str(self._pipeline.save())
        state = self._pipeline.folder / name
        with (self._pipeline.folder / f"{name}.txt").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "nvisy", "run", graph, "--follow", "--join"],
                cwd=self._pipeline.folder,
                env={**self._pipeline.environ, "NVISY_STATE": str(state), "PYTHONPATH": str(ROOT)},
                stdout=said,
                stderr=said,
            )
        self._started.append(process)
        return process

    def status(self) -> GraphStatus:
        """What `nvisy status` says on yet another host."""
        environ = self._pipeline.environ
        plan = compile_graph(check(Graph.load(self._pipeline.save()), Catalog.installed(), environ))
        with closing(self._pipeline.settings.open_log()) as log:
            return status_of(log, plan)

    def close(self) -> None:
        """End all of them."""
        for process in self._started:
            kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """The power of a host fails."""
    with suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for one in family:
            one.suspend()
        for one in family:
            one.kill()
    process.wait()


@pytest.fixture
def hosts(on_kafka: Pipeline) -> Iterator[Hosts]:
    hosts = Hosts(on_kafka)
    yield hosts
    hosts.close()


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.3)


def pid_of(owner: str) -> int:
    return int(owner.rpartition(":")[2])


def test_the_rest_go_on_when_the_owner_dies_and_when_it_is_told_to_stop(
    hosts: Hosts, on_kafka: Pipeline
) -> None:
    def indexed() -> set[str]:
        return on_kafka.keys() if (on_kafka.folder / ".nvisy/index.db").exists() else set()

    on_kafka.write({"a.md": text(1)})
    first = hosts.start("first")
    until(lambda: indexed() == {"a.md"})
    second = hosts.start("second")
    until(lambda: [pid_of(host.owner) for host in hosts.status().hosts] == [second.pid])
    assert pid_of(hosts.status().owner) == first.pid
    kill(first)
    on_kafka.write({"b.md": text(2)})
    until(lambda: indexed() == {"a.md", "b.md"})
    third = hosts.start("first")
    until(lambda: [pid_of(host.owner) for host in hosts.status().hosts] == [third.pid])
    assert pid_of(hosts.status().owner) == second.pid
    os.kill(second.pid, signal.SIGTERM)
    assert second.wait(60) == 0
    (on_kafka.docs / "a.md").unlink()
    until(lambda: indexed() == {"b.md"})
    os.kill(third.pid, signal.SIGTERM)
    assert third.wait(60) == 0
    assert not hosts.status().running
