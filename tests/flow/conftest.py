"""The same pipeline on both logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flow.pipeline import Pipeline


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def pipeline(request: pytest.FixtureRequest, tmp_path: Path, unique_name: str) -> Pipeline:
    """An empty pipeline with a name of its own."""
    log_url = request.getfixturevalue("kafka_url") if request.param == "kafka" else None
    return Pipeline(tmp_path, unique_name, log_url)


@pytest.fixture
def embedded(tmp_path: Path, unique_name: str) -> Pipeline:
    """An empty pipeline on the embedded log."""
    return Pipeline(tmp_path, unique_name, None)


@pytest.fixture
def on_kafka(tmp_path: Path, unique_name: str, kafka_url: str) -> Pipeline:
    """An empty pipeline on a broker."""
    return Pipeline(tmp_path, unique_name, kafka_url)
