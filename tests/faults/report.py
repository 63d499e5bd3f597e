"""The table that a matrix comes to, and its place in the documentation."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.faults.matrix import Result

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN = "<!-- faults: begin, written by `make faults` -->"
END = "<!-- faults: end -->"
HEAD = "| | fault | runs | seed | LOST | EXTRA | DUP | TTR s | SILENT | result |"
MAX_NOTES = 2
"""Notes of a row that the table has room for."""
LINE = "|---|---|---:|---:|---:|---:|---:|---:|---:|---|"


def table(results: Sequence[Result]) -> str:
    """One row per fault; the last cell is `pass` or `fail`."""
    return "\n".join([HEAD, LINE, *(_row(result) for result in results)])


def _row(result: Result) -> str:
    t = result.tally
    different = list(dict.fromkeys(t.notes))
    said = "; ".join([*different[:MAX_NOTES], *(["…"] if len(different) > MAX_NOTES else [])])
    notes = f" ({said})" if said else ""
    cells = (
        result.row.id,
        f"{result.row.title}{notes}".replace("|", "/"),
        t.runs,
        result.seed,
        t.lost,
        t.extra,
        t.dup,
        f"{t.ttr_s:.1f}",
        t.silent,
        "pass" if result.passed else "fail",
    )
    return f"| {' | '.join(map(str, cells))} |"


def write(results: Sequence[Result]) -> None:
    """Put these rows into the page, in the place of those of the same name; the others stay."""
    page = PAGE.read_text() if PAGE.exists() else f"# Reliability\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    block, _, after = rest.partition(END)
    rows = {line.split("|")[1].strip(): line for line in block.splitlines() if line.startswith("| F")}
    rows |= {result.row.id: _row(result) for result in results}
    ordered = [rows[name] for name in sorted(rows, key=lambda name: int(name[1:]))]
    text = "\n".join([BEGIN, _where(), "", HEAD, LINE, *ordered, END])
    PAGE.write_text(f"{before}{text}{after}")


def _where() -> str:
    packages = ("nvisy", "bytewax", "confluent-kafka", "apsw", "psycopg", "qdrant-client", "qdrant-edge-py")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    return f"Measured {today} on Python {platform.python_version()}, {platform.system()}: {versions}."
