"""The table, `results.json` and `docs/performance.md`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import orjson

from bench.harness import ROOT
from bench.picture import picture
from bench.rows import Row

RESULTS = ROOT / "bench" / "results.json"
PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
_HEADS = (
    "workload",
    "measured",
    "unit",
    "median",
    "min",
    "max",
    "baseline",
    "ratio",
    "from",
    "to",
    "bar",
    "",
)
_LIBRARIES = ("nvisy", "bytewax", "confluent-kafka", "fastavro", "numpy", "psycopg", "apsw", "pydantic")


def line(row: Row, *, judged: bool = True) -> str:
    """One row, as it comes."""
    verdict = ("pass" if row.passed else "**missed**") if judged else ""
    return f"| {' | '.join([*_cells(row), verdict])} |"


def table(rows: Sequence[Row], *, judged: bool = True) -> str:
    """All rows, as Markdown."""
    head = [f"| {' | '.join(_HEADS)} |", "|" + "---|" * len(_HEADS)]
    return "\n".join([*head, *(line(row, judged=judged) for row in rows)])


def write(rows: Sequence[Row], failed: Sequence[str]) -> None:
    """Write the results down."""
    RESULTS.write_bytes(
        orjson.dumps([row.as_json() for row in rows], option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    PAGE.write_text(_page(rows, failed))
    growth = next((row.facts["growth"] for row in rows if "growth" in row.facts), None)
    if growth:
        PICTURE.write_text(picture(growth))


def _cells(row: Row) -> list[str]:
    sign = "≥" if row.at_least else "≤"
    return [
        row.workload,
        row.what,
        row.unit,
        _number(row.median),
        _number(min(row.ours)),
        _number(max(row.ours)),
        _number(row.baseline),
        f"{row.ratio:.2f}",
        f"{min(row.ratios):.2f}",
        f"{max(row.ratios):.2f}",
        f"{sign} {row.bar:g}",
    ]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _page(rows: Sequence[Row], failed: Sequence[str]) -> str:
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    against = "\n".join(f"- **{row.workload}**: {row.against}." for row in rows)
    gaps = f"\nNot measured, since they failed: {', '.join(failed)}.\n" if failed else ""
    return f"""# Performance

`make bench` wrote this page on {datetime.now(UTC):%Y-%m-%d}. Each workload ran beside the loop that one would write by
hand, both in turn; what is shown are medians of {max(len(row.ours) for row in rows)} pairs. Ratios, taken pair by pair,
are what counts; the other figures hold for this machine.
How to read them, and what was found by profiling: [bench/README.md](../bench/README.md).

- Machine: {_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, {platform.system()} {platform.release()}.
- Versions: Python {platform.python_version()}, {libraries}.

{table(rows)}
{gaps}
The baselines:

{against}

![Throughput and memory against the number of documents](performance.svg)
"""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for text in info.read_text().splitlines():
            if text.startswith("model name"):
                return text.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gib() -> float:
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2**30
