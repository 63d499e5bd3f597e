"""`nvisy dlq replay` on the graph of a cell, as a person asks for it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

from tests.faults.cell import Cell

WITHIN_S = 120.0
DEGRADED = 4


def replaying(cell: Cell, *which: str) -> subprocess.Popen[bytes]:
    """Ask for these letters, `--all` or some by `--key`, and do not wait."""
    return subprocess.Popen(
        [sys.executable, "-m", "nvisy", "dlq", "replay", "graph.json", "--json", *which],
        cwd=cell.folder,
        env=cell.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def outcomes(cell: Cell, asked: subprocess.Popen[bytes]) -> Counter[str]:
    """How many letters had which outcome: `resolved`, `failed_again`, `superseded`."""
    try:
        said, complaints = asked.communicate(timeout=WITHIN_S * cell.slowness)
    except subprocess.TimeoutExpired:
        asked.kill()
        asked.communicate()
        cell.fail("a replay did not end")
    if asked.returncode not in (0, DEGRADED):
        cell.fail(f"a replay ended with exit code {asked.returncode}: {complaints.decode()[-500:]}")
    lines = [json.loads(line) for line in said.splitlines()]
    return Counter(line["outcome"] for line in lines if "outcome" in line)
