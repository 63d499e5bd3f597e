"""The runs of one cell: started, stopped and killed as processes, on one machine or on another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from nvisy.fault_points import Point
from tests.faults.orders import Orders, Place
from tests.faults.servers import Servers
from tests.faults.tally import CellFailed, Tally

ROOT = Path(__file__).parents[2]
START_S = 240.0
RUN_S = 240.0
STOP_S = 10.0
CALM_START_S = 3.0
"""How long an undisturbed start takes on a machine that has nothing else to do."""


@dataclass(frozen=True)
class Setting:
    """Which cell: a shape of graph, a log, a store, and how much of it.

    Attributes:
        quick: Play a bounded part only.
        only: Play this part of the row only, as a failure's command names it.
    """

    shape: str
    log: str
    store: str
    seed: int
    quick: bool = False
    only: str = ""

    def __str__(self) -> str:
        return f"{self.shape}/{self.log}/{self.store}"


class Runs:
    """A graph in a folder, and the processes that run it."""

    graph: dict[str, Any]
    """The graph, written down before every run."""

    def __init__(self, setting: Setting, servers: Servers, folder: Path) -> None:
        self.setting = setting
        self.servers = servers
        self.folder = folder
        self.tally = Tally()
        self.orders = Orders(folder / "orders")
        self.process: subprocess.Popen[bytes] | None = None
        self.variables: dict[str, str] = {}
        """Further variables of a run."""
        self._machine = 0
        self._closing: list[Callable[[], object]] = []
        self._report = folder / "report.json"
        self._said = folder / "stderr.txt"

    def elsewhere(self) -> None:
        """From now on runs are on another machine, as it were: with a folder of their own."""
        self._machine += 1

    @property
    def state(self) -> Path:
        """The folder that a run keeps on this machine."""
        return self.folder / (f"machine{self._machine}" if self._machine else ".nvisy")

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a run."""
        # a process that compiles everything anew takes its time
        left_out = ("NVISY_", "PYTHONDONTWRITEBYTECODE")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        log = {"NVISY_LOG": f"kafka://{self.servers.kafka.bootstrap}"} if self.setting.log == "kafka" else {}
        paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
        state = {"NVISY_STATE": str(self.state), "PYTHONPATH": os.pathsep.join(paths)}
        return {**kept, **log, **self.orders.environ, **state, **self.variables}

    def spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        """`nvisy run GRAPH ARGUMENTS`, without waiting for anything. The cell ends it in the end."""
        path = self.folder / "graph.json"
        path.write_text(json.dumps(self.graph))
        with self._report.open("wb") as out, self._said.open("ab") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "nvisy", "run", str(path), "--json", *arguments],
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self._closing.append(lambda: end(process))
        return process

    def start(self, *arguments: str, timeout_s: float = START_S) -> None:
        """Follow the source in a process; returns once every stage runs."""
        began = time.monotonic()
        goes = Place("-", Point.STAGE_GOES)
        before = self.orders.count(goes)
        self.process = self.spawn("--follow", *arguments)
        until = time.monotonic() + timeout_s
        while self.orders.count(goes) == before:
            if self.process.poll() is not None:
                self.fail(
                    f"the run ended with exit code {self.process.returncode} at its start: {self.said()}"
                )
            if time.monotonic() > until:
                self.fail(f"the run did not start within {timeout_s:.0f} s: {self.said()}")
            time.sleep(0.02)
        self.tally.calm_start_s = self.tally.calm_start_s or time.monotonic() - began

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process that `start` started."""
        assert self.process is not None
        return self.process

    def stop(self, within_s: float = STOP_S) -> float:
        """SIGTERM; the run has to end in order within so many seconds. Returns how long it took."""
        began = time.monotonic()
        self.running.send_signal(signal.SIGTERM)
        code = self.ended(self.running, within_s)
        if code not in (0, 4):
            self.fail(f"a run that was stopped ended with exit code {code}: {self.said()}")
        return time.monotonic() - began

    def kill(self) -> None:
        """SIGKILL for the process of the run; returns when its stages are gone, too."""
        children = self.stages()
        self.running.kill()
        self.gone(children)

    def stages(self) -> list[psutil.Process]:
        """The processes below the run."""
        try:
            return psutil.Process(self.running.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def gone(self, children: list[psutil.Process], within_s: float = 10.0) -> None:
        """Wait until the run and these processes have ended."""
        self.ended(self.running, within_s)
        _, alive = psutil.wait_procs(children, timeout=within_s * self.slowness)
        if alive:
            self.fail(f"{len(alive)} stages outlived their run")

    def run(self, *arguments: str, timeout_s: float = RUN_S) -> dict[str, Any]:
        """Run to the end and return the report; any exit code but 0 and 4 fails the cell."""
        began = time.monotonic()
        code = self.ended(self.spawn(*arguments), timeout_s)
        self.tally.calm_start_s = self.tally.calm_start_s or time.monotonic() - began
        if code not in (0, 4):
            self.fail(f"a run ended with exit code {code}: {self.said()}")
        return self.report()

    def report(self) -> dict[str, Any]:
        """What the last process printed."""
        found: dict[str, Any] = json.loads(self._report.read_bytes().splitlines()[-1])
        return found

    def said(self) -> str:
        """The end of what the runs wrote to stderr."""
        text = self._said.read_text(errors="replace") if self._said.exists() else ""
        lines = [line for line in text.splitlines() if '"event": "progress"' not in line]
        return " | ".join(lines[-6:])

    @property
    def slowness(self) -> float:
        """How much slower than a machine with nothing else to do this one is: waits and bars on time grow with it."""
        return max(1.0, self.tally.calm_start_s / CALM_START_S)

    def ended(self, process: subprocess.Popen[bytes], within_s: float) -> int:
        """The exit code of a process that has to end within so many seconds."""
        try:
            return process.wait(within_s * self.slowness)
        except subprocess.TimeoutExpired:
            self.fail(f"a run did not end within {within_s * self.slowness:.0f} s: {self.said()}")
            raise

    def taken(self, within_s: float) -> dict[str, Any] | None:
        """The order as it was carried out, or None if it is not within so many seconds."""
        return self.orders.wait_taken(within_s * self.slowness)

    def expect(self, right: bool, otherwise: str) -> None:
        """Note what is wrong, and go on."""
        if not right:
            self.tally.failures.append(f"{self.setting}: {otherwise}")

    def fail(self, why: str) -> Any:
        """Note what is wrong, and end the cell."""
        self.expect(right=False, otherwise=why)
        raise CellFailed

    @contextmanager
    def saying(self, what: str) -> Iterator[None]:
        """What fails within says `what` was going on."""
        before = len(self.tally.failures)
        try:
            yield
        finally:
            failures = self.tally.failures
            failures[before:] = [f"{failure} [{what}]" for failure in failures[before:]]

    def note(self, text: str) -> None:
        """Something that the table should say."""
        self.tally.notes.append(text)

    def close(self) -> None:
        """End everything that belongs to the cell."""
        while self._closing:
            self._closing.pop()()

    def closing(self, close: Callable[[], object]) -> None:
        """Call this when the cell is closed."""
        self._closing.append(close)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all below it, stopped ones too."""
    if process.poll() is not None:
        return  # its number may be another's by now
    try:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for one in family:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()
