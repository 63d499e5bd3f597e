"""A run that is paused, and another one that wants its graph."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from nvisy.topics.kafka.lease import LEASE_S
from tests.flow.pipeline import Pipeline
from tests.flow.test_crash import index_of

pytestmark = pytest.mark.timeout(400)


@contextmanager
def following(pipeline: Pipeline, host: str) -> Iterator[subprocess.Popen[bytes]]:
    """`nvisy run --follow` on a machine of its own, as far as claims can tell."""
    process = subprocess.Popen(
        [sys.executable, "-m", "nvisy", "run", str(pipeline.save()), "--follow"],
        cwd=pipeline.folder,
        env={
            **pipeline.environ,
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "NVISY_STATE": str(pipeline.folder / host),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        end(family(process))
        process.communicate()


def end(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    return []


def until(holds: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_paused_run_on_another_host_is_replaced_and_ends_when_it_wakes_up(on_kafka: Pipeline) -> None:
    on_kafka.write({"a.md": "first", "b.md": "second"})
    with following(on_kafka, "one") as first:
        until(lambda: index_of(on_kafka) == {"a.md", "b.md"})
        paused = family(first)
        for process in paused:
            process.suspend()
        time.sleep(LEASE_S)
        with following(on_kafka, "two") as second:
            on_kafka.write({"a.md": "changed meanwhile"})
            (on_kafka.docs / "b.md").unlink()
            until(lambda: index_of(on_kafka) == {"a.md"})
            for process in paused:
                process.resume()
            _, said = first.communicate(timeout=60)
            assert first.returncode == 6, said.decode()
            on_kafka.write({"c.md": "third"})
            until(lambda: index_of(on_kafka) == {"a.md", "c.md"})
            assert [hit.text for hit in on_kafka.records(key="a.md")] == ["changed meanwhile"]
            second.terminate()
            second.communicate(timeout=60)
            assert second.returncode == 0
            assert not psutil.wait_procs(paused, timeout=30)[1]


def test_a_paused_run_on_the_same_machine_is_respected(pipeline: Pipeline) -> None:
    pipeline.write({"a.md": "first"})
    with following(pipeline, "one") as first:
        until(lambda: index_of(pipeline) == {"a.md"})
        paused = family(first)
        for process in paused:
            process.suspend()
        time.sleep(LEASE_S)
        with following(pipeline, "one") as second:
            _, said = second.communicate(timeout=60)
            assert second.returncode == 6
            assert str(first.pid).encode() in said
        try:
            first.kill()  # its stages sleep on
            with following(pipeline, "one") as third:
                pipeline.write({"b.md": "second"})
                until(lambda: index_of(pipeline) == {"a.md", "b.md"})
                assert third.poll() is None
        finally:
            end(paused)
