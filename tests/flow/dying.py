"""Ends a process at a named point of the code, as if by kill -9: see `nvisy.fault_points`."""

from __future__ import annotations

import os
import signal

from nvisy.fault_points import Point

VARIABLE = "NVISY_TEST_DIES_AT"


def reached(point: Point, stage: str) -> None:
    """Die, if this is the point, in the process of a command."""
    if not stage and os.environ.get(VARIABLE) == point.name:
        os.kill(os.getpid(), signal.SIGKILL)
