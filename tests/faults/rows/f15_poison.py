"""F15: documents that end the process that works on them: a crash, the out-of-memory killer, a loop in native code."""

from __future__ import annotations

import time

from tests.faults.cell import Cell
from tests.faults.graphs import STEPS
from tests.faults.matrix import CHAIN, Row
from tests.faults.oracle import BAD

CALL_S = 3.0
HANG_S = CALL_S + 5.0
"""What the graph allows for a call, and the grace that its stage has."""
LIVES = 3
TTR_S = 60.0

POISON = """

import ctypes
import os
import re
import signal

_split = split


def split(document: Document) -> Iterator[Chunk]:
    text = (document.content or b"").decode()
    if text.startswith("BAD crash"):
        ctypes.string_at(0)
    if text.startswith("BAD memory"):
        os.kill(os.getpid(), signal.SIGKILL)
    if text.startswith("BAD loop"):
        re.match(r"(a+)+$", "a" * 64 + "b")
    return _split(document)
"""


def play(cell: Cell) -> None:
    """Poison among healthy documents at the start, then more of it while the pipeline is followed."""
    (cell.folder / "steps.py").write_text(STEPS + POISON)
    for node in cell.graph["nodes"]:
        if node["type"] == "action":
            node["timeout"] = {"nodeTimeoutMs": int(CALL_S * 1000)}
    count = 60 if cell.setting.quick else 300
    cell.source.fill(count)
    _poison(cell, "crash")
    _poison(cell, "memory")
    began = time.monotonic()
    cell.start()
    cell.rest(began)
    cell.source.edit()
    _poison(cell, "loop")
    began = time.monotonic()
    took_s = cell.rest(timeout_s=TTR_S + LIVES * HANG_S + 60.0)
    cell.tally.ttr_s = max(cell.tally.ttr_s, took_s - LIVES * HANG_S)
    cell.stop()
    cell.finish()


def _poison(cell: Cell, kind: str) -> None:
    cell.tally.runs += 1
    cell.source.write(f"p-{kind}.txt", f"{BAD} {kind}")


ROW = Row("F15", "documents that crash or hang the process", play, where=CHAIN, dup=None, ttr_s=TTR_S)
