"""Wrong clocks for the processes under test, which are set while they run.

`time.time` and `time.time_ns` are all that Nvisy asks for the time of day. Named by `NVISY_FAULT_POINTS` in place of
`inject.py`, which it hands everything on to, this shifts them before anything else is imported. Servers, and what
clients written in C ask the system for, keep the right time.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nvisy.fault_points import VARIABLE, Point
from tests.faults import inject

if TYPE_CHECKING:
    from tests.faults.cell import Cell

SHIFTS = "NVISY_TEST_CLOCK"
"""Variable that names the file with the shifts, in seconds: of processes of even number, and of the others."""
_PAIR = struct.Struct("<qq")


class Clocks:
    """The clocks of a cell's processes: two, as if they ran on two machines."""

    def __init__(self, cell: Cell) -> None:
        """Right for now; before the first run."""
        self._path = cell.folder / "clocks"
        self._path.write_bytes(bytes(_PAIR.size))
        cell.orders.environ |= {VARIABLE: f"{__name__}:reached", SHIFTS: str(self._path)}

    def set(self, even_s: int, odd_s: int) -> None:
        """Shift the clocks of processes of even number and of the others, those that run too, at once."""
        with self._path.open("r+b") as file:
            file.write(_PAIR.pack(even_s, odd_s))


def reached(point: Point, stage: str) -> None:
    """The function that `NVISY_FAULT_POINTS` names."""
    inject.reached(point, stage)


def _shift_the_clock(path: str) -> None:
    with Path(path).open("r+b") as file:
        shifts = mmap.mmap(file.fileno(), _PAIR.size, access=mmap.ACCESS_READ)
    seconds, nanoseconds, mine = time.time, time.time_ns, os.getpid() % 2
    time.time = lambda: seconds() + _PAIR.unpack(shifts[:])[mine]
    time.time_ns = lambda: nanoseconds() + _PAIR.unpack(shifts[:])[mine] * 10**9


if SHIFTS in os.environ:
    _shift_the_clock(os.environ[SHIFTS])
