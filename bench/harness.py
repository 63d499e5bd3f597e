"""Running children and measuring them: their time, and the memory of all their processes together."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import orjson
import psutil

ROOT = Path(__file__).parents[1]
SAMPLE_S = 0.2
STOP_S = 30.0
STDOUT, STDERR = "stdout", "stderr"


@dataclass(frozen=True, slots=True)
class Done:
    """A child that ended well.

    Attributes:
        report: The JSON object that its last line is; empty if it is none.
        started_at: When it was started, seconds, UTC.
        wall_s: From start to end.
        cpu_s: Seconds of the processor that it and its descendants took: what hardly depends on other programs.
        peak_mb: The most that it and its descendants had resident together, in 10^6 bytes.
    """

    report: Mapping[str, Any]
    started_at: float
    wall_s: float
    cpu_s: float
    peak_mb: float

    @property
    def working_s(self) -> float:
        """From the first record read to the last acknowledgement."""
        report = self.report
        if "working_s" in report:
            return float(report["working_s"])
        return float(report["last_ack_at_us"] - report["first_read_at_us"]) / 1e6

    @property
    def first_read_s(self) -> float:
        """From its start to the first record read."""
        return float(self.report["first_read_at_us"]) / 1e6 - self.started_at


def run_child(argv: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> Done:
    """Run a command to its end in `folder`. Raises `RuntimeError` with what it said, if that is a bad one."""
    started_at, started = time.time(), time.monotonic()
    with running(argv, folder, environ) as process, Sampler(process.pid) as sampler:
        code, usage = _reap(process)
    wall_s = time.monotonic() - started
    if code != 0:
        raise RuntimeError(f"`{' '.join(argv)}` ended with {code}:\n{(folder / STDERR).read_text()[-3000:]}")
    report = {}
    with suppress(IndexError, orjson.JSONDecodeError):
        report = orjson.loads((folder / STDOUT).read_bytes().splitlines()[-1])
    return Done(report, started_at, wall_s, usage.ru_utime + usage.ru_stime, sampler.peak_mb)


@contextmanager
def running(
    argv: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs in `folder` as long as this is open; what it says is in two files there."""
    unwanted = ("NVISY_", "PYTHONDONTWRITEBYTECODE")  # a user's second start finds compiled modules
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    environ = {**clean, "PYTHONPATH": str(ROOT), **(environ or {})}
    with (folder / STDERR).open("wb") as said, (folder / STDOUT).open("wb") as out:
        process = subprocess.Popen(
            argv, cwd=folder, env=environ, stdout=out, stderr=said, stdin=subprocess.DEVNULL
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _reap(process: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    """Wait for the end of a child, and of those that it waited for."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def nvisy(*arguments: str) -> list[str]:
    """The command line of the product."""
    return [sys.executable, "-m", "nvisy", *arguments]


def baseline(name: str, *arguments: str) -> list[str]:
    """The command line of a hand-written loop."""
    return [sys.executable, "-m", f"bench.baselines.{name}", *arguments]


class Sampler:
    """Looks at the memory of a process and its descendants while it is open."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            with suppress(psutil.NoSuchProcess):
                root = psutil.Process(self._pid)
                total = sum(_resident(one) for one in (root, *root.children(recursive=True)))
                self.peak_mb = max(self.peak_mb, total / 1e6)


def _resident(process: psutil.Process) -> int:
    """Bytes of memory; what processes share counts for each by its share, where the system says so."""
    try:
        memory = process.memory_full_info()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0
    return int(getattr(memory, "pss", memory.rss))


@dataclass(frozen=True, slots=True)
class Pairs:
    """The product and its baseline, run after each other again and again."""

    ours: Sequence[Done]
    theirs: Sequence[Done]

    def rates(self, count: int) -> tuple[list[float], list[float]]:
        """How many of `count` things each run did in a second of its work."""
        return [count / one.working_s for one in self.ours], [count / one.working_s for one in self.theirs]

    def costs(self) -> dict[str, float]:
        """Medians of the memory that both took at most, 10^6 bytes, and of their seconds of the processor."""
        return {
            "cpu_s": round(median(one.cpu_s for one in self.ours), 2),
            "baseline_cpu_s": round(median(one.cpu_s for one in self.theirs), 2),
            "memory_mb": round(median(one.peak_mb for one in self.ours), 1),
            "baseline_memory_mb": round(median(one.peak_mb for one in self.theirs), 1),
        }


def side_by_side(repeats: int, ours: Callable[[int], Done], theirs: Callable[[int], Done]) -> Pairs:
    """Both in turn, who is first changing from pair to pair: what slows the machine down slows both."""
    mine: list[Done] = []
    baselines: list[Done] = []
    for turn in range(repeats):
        if turn % 2:
            mine.append(ours(turn))
            baselines.append(theirs(turn))
        else:
            baselines.append(theirs(turn))
            mine.append(ours(turn))
    return Pairs(mine, baselines)
