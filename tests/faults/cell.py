"""One cell of the matrix: a pipeline on one log and one store, its source, and the oracle that watches it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from nvisy.fault_points import Point
from nvisy.testing.model_server import ModelServer
from tests.faults.graphs import STEPS, graph
from tests.faults.logs import EmbeddedTopics, KafkaTopics, Topics, falls, letters
from tests.faults.oracle import DIMENSIONS, SINKS, Oracle, compare
from tests.faults.orders import Orders, Place
from tests.faults.servers import Servers
from tests.faults.source import Source
from tests.faults.stores import PostgresStore, QdrantStore, SqliteStore, Store, held
from tests.faults.tally import CellFailed, Tally

ROOT = Path(__file__).parents[2]
START_S = 240.0
RUN_S = 240.0
REST_S = 60.0
"""Longest wait for everything to be as the oracle says; a row's bar on the time is its own."""
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


class Cell:
    """A pipeline under test. Rows edit `source`, give `orders`, start and end the run, and wait for `rest`."""

    def __init__(self, setting: Setting, row: str, servers: Servers, folder: Path, name: str) -> None:
        """Nothing runs yet, and no document is there.

        Args:
            setting: Which cell.
            row: Id of the row.
            servers: What is shared with other cells.
            folder: A folder of its own.
            name: A name that no other cell has, fit for a graph.
        """
        self.setting = setting
        self.row = row
        self.servers = servers
        self.folder = folder
        self.name = name
        self.tally = Tally()
        self._machine = 0
        self.oracle = Oracle(setting.shape)
        self.source = Source(folder / "docs", self.oracle, f"{setting.seed}/{row}/{setting}")
        self.orders = Orders(folder / "orders")
        self.model = ModelServer(dimensions=DIMENSIONS)
        self.model.__enter__()
        self._closing: list[Callable[[], object]] = [lambda: self.model.__exit__(None, None, None)]
        self.store: Store = self._store()
        self._closing.append(self.store.close)
        self.topics: Topics = self._topics()
        self._closing.append(self.topics.close)
        self.graph: dict[str, Any] = graph(setting.shape, name, self.store.sink(), self.model.url)
        self.process: subprocess.Popen[bytes] | None = None
        self._report = folder / "report.json"
        self._said = folder / "stderr.txt"
        (folder / "steps.py").write_text(STEPS)

    def elsewhere(self) -> None:
        """From now on runs are on another machine, as it were: with a folder of their own."""
        self._machine += 1

    # --- running -----------------------------------------------------------------------------------------------

    @property
    def state(self) -> Path:
        """The folder that a run keeps on this machine."""
        return self.folder / (f"machine{self._machine}" if self._machine else ".nvisy")

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a run."""
        left_out = (
            "NVISY_",
            "PYTHONDONTWRITEBYTECODE",
        )  # a process that compiles everything anew takes its time
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        log = {"NVISY_LOG": f"kafka://{self.servers.kafka.bootstrap}"} if self.setting.log == "kafka" else {}
        paths = [str(ROOT), *filter(None, [kept.get("PYTHONPATH")])]
        state = {"NVISY_STATE": str(self.state), "PYTHONPATH": os.pathsep.join(paths)}
        return {**kept, **log, **self.orders.environ, **state}

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

    def reach_store_at(self, address: str) -> None:
        """Sinks are told this address; before the first run."""
        self.store.seen_as = address
        self.graph = graph(self.setting.shape, self.name, self.store.sink(), self.model.url)

    # --- judging -----------------------------------------------------------------------------------------------

    def rest(self, since: float | None = None, *, timeout_s: float = REST_S) -> float:
        """Wait until sinks and dead letters are as the oracle says.

        Returns the seconds since `since` (a fault's `at`; default: now), which count for TTR where it is given. If
        it does not come about, what is wrong is counted, and the cell ends.
        """
        began = time.monotonic() if since is None else since
        until = time.monotonic() + timeout_s * self.slowness
        while wrong := self._wrong():
            if time.monotonic() > until:
                self._count(wrong)
                raise CellFailed
            time.sleep(0.03)
        self.oracle.settle()
        took_s = max(0.0, time.monotonic() - began)
        if since is not None:
            self.tally.ttr_s = max(self.tally.ttr_s, took_s)
        return took_s

    def rest_or_taken(self, timeout_s: float = REST_S) -> dict[str, Any] | None:
        """The order that was carried out, or None once everything is as the oracle says and it was not."""
        until = time.monotonic() + timeout_s * self.slowness
        while (taken := self.orders.taken) is None and time.monotonic() < until and self._wrong():
            time.sleep(0.03)
        return taken or self.orders.taken

    def rests_within(self, timeout_s: float) -> bool:
        """Whether everything comes to be as the oracle says while the run lasts; if not, nothing is counted."""
        until = time.monotonic() + timeout_s * self.slowness
        while self._wrong():
            if time.monotonic() > until or self.running.poll() is not None:
                return False
            time.sleep(0.05)
        self.oracle.settle()
        return True

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

    def judge(self) -> None:
        """Now, without waiting, everything has to be as the oracle says."""
        if wrong := self._wrong():
            self._count(wrong)
            raise CellFailed
        self.oracle.settle()

    def finish(self) -> None:
        """The last word: run to the end, compare, run again: it must find nothing to do. Counts DUP.

        In every topic the versions of a key must not have fallen.
        """
        self.run()
        self.judge()
        again = self.run()
        idle = {name: again[name] for name in ("written", "removed", "model_calls") if again[name]}
        self.expect(not idle, f"a second run found something to do: {idle}")
        self.judge()
        fallen = falls(self.topics, self.folder.glob("*/schemas/ids/*.avsc"))
        self.expect(not fallen, f"versions fell in topics: {fallen[:3]}")
        self.count_dup()

    def count_dup(self) -> None:
        """Texts that the model was asked for more than once so far."""
        asked = Counter((c.fields["model"], t) for c in self.model.calls if c.status == 200 for t in c.texts)
        self.tally.dup = asked.total() - len(asked)

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

    def _wrong(self) -> tuple[list[str], list[str], list[str]] | None:
        """What is missing, what is too much, what is silent."""
        lost: list[str] = []
        extra: list[str] = []
        for sink in SINKS[self.setting.shape]:
            difference = compare(self.oracle, sink, held(self.store, sink))
            lost += difference.lost
            extra += difference.extra
        if lost or extra:
            return lost, extra, []
        wanted, is_open = self.oracle.letters(), letters(self.topics, self.name)
        silent = [f"{key}: no dead letter" for key in sorted(wanted - is_open)]
        extra = [f"{key}: a dead letter that should be closed" for key in sorted(is_open - wanted)]
        return ([], extra, silent) if extra or silent else None

    def _count(self, wrong: tuple[list[str], list[str], list[str]]) -> None:
        lost, extra, silent = wrong
        self.tally.lost += len(lost)
        self.tally.extra += len(extra)
        self.tally.silent += len(silent)
        code = self.process.poll() if self.process else None
        self.expect(
            right=False,
            otherwise=f"not as the oracle says: lost {lost[:3]}, extra {extra[:3]}, silent {silent[:3]};"
            f" exit code of the run: {code}; it said: {self.said()}",
        )

    # --- surroundings ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End everything that belongs to the cell."""
        while self._closing:
            self._closing.pop()()

    def closing(self, close: Callable[[], object]) -> None:
        """Call this when the cell is closed."""
        self._closing.append(close)

    def _store(self) -> Store:
        match self.setting.store:
            case "sqlite":
                return SqliteStore(self.folder / "index.db")
            case "pgvector":
                dsn = self.servers.postgres.create_database()
                self._closing.append(lambda: self.servers.postgres.drop_database(dsn))
                return PostgresStore(dsn)
            case _:
                server = self.servers.qdrant()
                self._closing.append(server.close)
                return QdrantStore(server.url)

    def _topics(self) -> Topics:
        if self.setting.log == "kafka":
            return KafkaTopics(self.servers.kafka.bootstrap, self.name)
        return EmbeddedTopics(self.state / "log", self.name)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and all below it, stopped ones too."""
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
