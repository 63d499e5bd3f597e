"""Fault points cost nothing and do nothing until a test names a function for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nvisy import fault_points
from nvisy.fault_points import VARIABLE, Point, reach

OWN = "def heard(point, stage): print(point.name, stage)"
PROGRAM = "reach(Point.READ); enter('split'); reach(Point.COMMIT)"


def run(folder: Path, environ: dict[str, str]) -> str:
    (folder / "own.py").write_text(OWN)
    done = subprocess.run(
        [sys.executable, "-c", f"from nvisy.fault_points import enter, reach, Point\n{PROGRAM}"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), **environ},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_nothing_happens_unless_a_test_asks_for_it(tmp_path: Path) -> None:
    assert run(tmp_path, {}) == ""


def test_the_function_named_is_told_the_point_and_the_stage(tmp_path: Path) -> None:
    assert run(tmp_path, {VARIABLE: "own:heard"}) == "READ \nCOMMIT split\n"


def test_a_point_that_nobody_asks_for_takes_less_than_ten_microseconds(benchmark_s: float) -> None:
    assert benchmark_s < 10e-6


@pytest.fixture
def benchmark_s() -> float:
    """Seconds that a point takes, the best of some tries."""
    import timeit

    return min(timeit.repeat(lambda: reach(Point.READ), number=1000, repeat=20)) / 1000


def test_every_point_is_in_the_code_and_says_what_it_stands_for() -> None:
    root = Path(fault_points.__file__).parents[1]
    folders = (root / "nvisy", *(root / "connectors").glob("*/nvisy_*"))
    code = "".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    assert [point.name for point in Point if f"reach(Point.{point.name})" not in code] == []
