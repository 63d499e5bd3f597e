"""F21: no space is left where a run keeps its state; the file system is read-only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

from tests.faults.cell import Cell
from tests.faults.matrix import CHAIN, Row

DISK_BYTES = 48 << 20
BALLAST = "ballast"
SAYS_S = 30.0
STOPPED = (1, 3)
"""What a run ends with when it cannot write: unreachable, or a library that could not."""


def play(cell: Cell) -> None:
    """The state is on a disk of its own, which is filled to the last byte, then made read-only."""
    _mount(cell)
    cell.source.fill(24)
    cell.start()
    cell.rest()
    with cell.saying("full while it is followed"):
        _full_while_followed(cell)
    cell.stop()
    with cell.saying("full from the start"):
        _from_the_start(cell, lambda: _fill(cell), lambda: _empty(cell))
    with cell.saying("read-only"):
        _from_the_start(cell, lambda: _mount_again(cell, "ro"), lambda: _mount_again(cell, "rw"))
    cell.finish()


def _full_while_followed(cell: Cell) -> None:
    """The run waits or ends, and says why; once there is space everything arrives."""
    cell.tally.runs += 1
    _fill(cell)
    for _ in range(4):
        cell.source.edit(12)
    for name in cell.source.names()[:3]:
        cell.source.write(name, cell.source.document(400))
    said = _what_is_said(cell)
    code = cell.running.poll()
    if cell.setting.log == "embedded":
        cell.expect("space" in said or "full" in said, f"nobody said that the disk is full: {said}")
    cell.expect(code in (None, *STOPPED), f"exit code {code}: {cell.said()}")
    cell.note(f"a full disk: {'the run waits' if code is None else f'exit code {code}'}")
    _empty(cell)
    began = time.monotonic()
    if cell.running.poll() is not None:
        cell.start()
    cell.rest(began)


def _from_the_start(cell: Cell, harm: Callable[[], None], mend: Callable[[], None]) -> None:
    """A bounded run ends and says why, or does without; the next one does everything."""
    cell.tally.runs += 1
    cell.source.edit(12)
    for name in cell.source.names()[:3]:
        cell.source.write(name, cell.source.document(400))
    harm()
    code = cell.ended(cell.spawn(), 90)
    said = cell.said()
    mend()
    cell.note(f"a run on a disk that is full or read-only: exit code {code}")
    cell.expect(code in (0, 4, *STOPPED), f"exit code {code}: {said}")
    cell.expect("Traceback" not in said, f"a traceback: {said}")
    if code in STOPPED:
        cell.expect(".nvisy" in said, f"exit code {code}, and it did not say where: {said}")
    cell.run()
    cell.judge()


def _what_is_said(cell: Cell) -> str:
    """By the run and by `nvisy status`, once somebody speaks of the disk or everything is done."""
    until = time.monotonic() + SAYS_S * cell.slowness
    said = ""
    while time.monotonic() < until:
        command = [sys.executable, "-m", "nvisy", "status", "graph.json", "--json"]
        told = subprocess.run(command, cwd=cell.folder, env=cell.environ, capture_output=True, check=False)
        stages = json.loads(told.stdout)["stages"] if told.returncode == 0 else []
        said = " ".join([*(f"{one['waiting']} {one['last_error']}" for one in stages), cell.said()])
        if "space" in said or "full" in said or cell.running.poll() is not None:
            break
        if cell.setting.log == "kafka" and cell.rests_within(1.0):
            break
        time.sleep(0.3)
    return said


def _mount(cell: Cell) -> None:
    """A small file system in memory, which takes the right to mount one."""
    cell.state.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(cell.state)]
    mounted = subprocess.run(command, capture_output=True, check=False)
    if mounted.returncode:
        cell.fail(f"play this row as root, or below `unshare -rm`: {mounted.stderr.decode().strip()}")
    cell.closing(lambda: subprocess.run(["umount", "-l", cell.state], check=True))


def _mount_again(cell: Cell, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", cell.state], check=True)


def _fill(cell: Cell) -> None:
    """To the last byte."""
    with (cell.state / BALLAST).open("wb", buffering=0) as file:
        block = bytes(1 << 16)
        while block:
            try:
                file.write(block)
            except OSError:
                block = block[: len(block) // 2]
    free = os.statvfs(cell.state)
    assert not free.f_bavail, free


def _empty(cell: Cell) -> None:
    (cell.state / BALLAST).unlink()


ROW = Row("F21", "no space left; read-only", play, where=CHAIN, quick=())
