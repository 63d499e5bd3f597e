"""A run beside the program that shows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0


def environ(state: Path) -> dict[str, str]:
    """Where commands find what is here."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("NVISY_")}
    return {**ours, "NVISY_STATE": str(state), "PYTHONPATH": str(ROOT)}


@contextmanager
def following(graph: Path, state: Path) -> Iterator[None]:
    """`nvisy run GRAPH --follow` beside this program."""
    words = [sys.executable, "-m", "nvisy", "run", str(graph), "--follow"]
    with (graph.parent / "run.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - ours
            words, env=environ(state), cwd=graph.parent, stdout=log, stderr=log
        )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until `condition()` holds."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("nothing has happened for five minutes; give up")
        time.sleep(0.02)
