"""What `make bench` writes down in the end."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import orjson
import pytest

from bench import report
from bench.rows import Row

GROWTH = [
    {
        "documents": documents,
        "ratio": 0.9,
        "documents_per_s": 1500.0,
        "baseline_documents_per_s": 1700.0,
        "memory_mb": 300.0,
        "baseline_memory_mb": 90.0,
    }
    for documents in (20_000, 200_000, 1_000_000)
]
FAST = Row("W1", "into a store", "documents/s", "the loop", 0.8, [90.0, 80.0, 70.0], [100.0, 100.0, 100.0])
LARGE = Row("W11", "memory", "MB", "small", 1.1, [120.0], [100.0], at_least=False, facts={"growth": GROWTH})


def test_ratios_are_taken_pair_by_pair_and_judged_by_their_median() -> None:
    assert FAST.as_json() | {"what": "", "against": ""} == {
        "workload": "W1",
        "what": "",
        "ratio": 0.8,
        "ratio_min": 0.7,
        "ratio_max": 0.9,
        "bar": 0.8,
        "sense": "at least",
        "pass": True,
        "unit": "documents/s",
        "median": 80.0,
        "min": 70.0,
        "max": 90.0,
        "baseline": 100.0,
        "against": "",
        "repetitions": 3,
    }
    assert not LARGE.passed


def test_results_page_and_picture_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESULTS", "PAGE", "PICTURE"):
        monkeypatch.setattr(report, name, tmp_path / name)
    report.write([FAST, LARGE], ["W9"])
    assert [one["workload"] for one in orjson.loads((tmp_path / "RESULTS").read_bytes())] == ["W1", "W11"]
    page = (tmp_path / "PAGE").read_text()
    assert "| W11 | memory |" in page
    assert "they failed: W9" in page
    assert "**missed**" in page
    picture = ET.fromstring((tmp_path / "PICTURE").read_text())
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == 4
