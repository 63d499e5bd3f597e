"""F34: hosts that run one graph together, and die, are paused, and leave one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil

from nvisy.fault_points import Point
from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.orders import Place

PAUSE_S = 9.0
"""Longer than a lease lasts, and than it takes to follow an owner whose lease is over."""
SHARE_S = 60.0
"""How long a host that joins may take to get its share of the partitions."""
STAGES = ("split", "index")
WHERE = tuple(("chain", "kafka", store) for store in ("sqlite", "pgvector", "qdrant"))


class Host:
    """One of the hosts: a run with a folder of its own."""

    def __init__(self, cell: Cell) -> None:
        cell.elsewhere()
        cell.start("--join")
        self.process: subprocess.Popen[bytes] = cell.running

    def family(self) -> list[psutil.Process]:
        """The run and its stages."""
        try:
            run = psutil.Process(self.process.pid)
            return [run, *run.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """The power of the host fails."""
        family = self.family()
        for process in family:
            process.suspend()
        for process in family:
            process.kill()
        self.process.wait()

    @contextmanager
    def paused(self) -> Iterator[list[psutil.Process]]:
        """Nothing of the host goes on for a while."""
        family = self.family()
        for process in family:
            process.suspend()
        try:
            yield family
        finally:
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.resume()


def play(cell: Cell) -> None:
    """Owners and joined hosts in turn; whoever is left goes on."""
    cell.source.fill(24)
    first, second = Host(cell), Host(cell)
    cell.rest()
    _share(cell, first, second)
    _status(cell, first, second)
    _refused(cell, first)
    with cell.saying("a joined host died"):
        _after(cell, second.kill)
    third = Host(cell)
    _share(cell, first, third)
    with cell.saying("the owner died"):
        _after(cell, first.kill)
    fourth = Host(cell)
    with cell.saying("the owner was paused"):
        _paused(cell, third, fourth)
    with cell.saying("the owner was told to stop"):
        cell.process = fourth.process
        cell.tally.runs += 1
        cell.stop(30.0)
        cell.source.edit()
        cell.rest(time.monotonic())
    cell.process = third.process
    cell.stop()
    cell.finish()


def _share(cell: Cell, *hosts: Host) -> None:
    """Each of the hosts reads a part of what every stage that can be divided reads."""
    cell.orders.forget()
    until = time.monotonic() + SHARE_S * cell.slowness
    pids: dict[int, set[int]] = {}
    missing = [(stage, host.process.pid) for stage in STAGES for host in hosts]
    while missing:
        if time.monotonic() > until:
            cell.fail(f"no part of a stage: {missing}")
        cell.source.edit()
        time.sleep(0.5)
        for host in hosts:  # a stage is a new process whenever partitions are dealt anew
            pids.setdefault(host.process.pid, set()).update(one.pid for one in host.family())
        readers = {stage: cell.orders.pids(Place(stage, Point.READ)) for stage in STAGES}
        missing = [(stage, host) for stage, host in missing if pids[host].isdisjoint(readers[stage])]
    cell.rest()


def _status(cell: Cell, owner: Host, joined: Host) -> None:
    """`nvisy status` names both, wherever it is asked."""
    cell.elsewhere()
    command = [sys.executable, "-m", "nvisy", "status", str(cell.folder / "graph.json"), "--json"]
    asked = subprocess.run(command, cwd=cell.folder, env=cell.environ, capture_output=True, check=False)
    said = json.loads(asked.stdout or b"{}")
    named = [said.get("owner", ""), *(host["owner"] for host in said.get("hosts", ()))]
    pids = [str(host.process.pid) for host in (owner, joined)]
    cell.expect(
        [name.rpartition(":")[2] for name in named] == pids,
        f"not the hosts that there are, {pids}: {asked.stdout.decode()} {asked.stderr.decode()}",
    )


def _refused(cell: Cell, owner: Host) -> None:
    """A run of its own beside them, and one of another graph."""
    code = cell.ended(cell.spawn("--follow"), 60)
    named = str(owner.process.pid) in cell.said()
    cell.expect(code == 6 and named, f"a run of its own: exit code {code}, and it said: {cell.said()}")
    before = cell.graph
    cell.graph = {**before, "log": {"partitions": 3}}
    code = cell.ended(cell.spawn("--follow", "--join"), 60)
    said = "another version of the graph" in cell.said()
    cell.expect(code == 6 and said, f"another graph: exit code {code}, and it said: {cell.said()}")
    cell.graph = before


def _after(cell: Cell, harm: Callable[[], None]) -> None:
    """In the middle of the work; what comes later reaches the sinks, too."""
    cell.tally.runs += 1
    cell.source.edit(12)
    time.sleep(0.3)
    since = time.monotonic()
    harm()
    cell.source.edit()
    cell.rest(since)


def _paused(cell: Cell, owner: Host, other: Host) -> None:
    """The owner wakes up when it has been followed: it does no harm, and joins whoever followed it."""
    cell.tally.runs += 1
    cell.source.edit(12)
    with owner.paused():
        since = time.monotonic()
        cell.source.edit()
        time.sleep(PAUSE_S)
        cell.rest(since)
        before = {name: cell.source.text(name) for name in cell.source.names()}
    cell.source.edit()
    cell.rest()
    for name, text in before.items():
        if name in cell.source.names() and cell.source.text(name) != text:
            cell.source.write(name, text)
    cell.rest()
    cell.expect(owner.process.poll() is None, "whoever was paused did not join")
    _share(cell, other, owner)


ROW = Row(
    "F34", "hosts that run one graph together, and die one after the other", play, where=WHERE, quick=()
)
