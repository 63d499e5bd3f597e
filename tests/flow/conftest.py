"""The same pipeline on both logs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nvisy.runtime import stage_process
from tests.flow.pipeline import Pipeline
from tests.flow.warm_stages import WarmStages


@pytest.fixture(scope="session")
def warm_stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmStages]:
    """What starts the stages of runs in this process."""
    stages = WarmStages(tmp_path_factory.mktemp("warm"))
    yield stages
    stages.close()


@pytest.fixture(autouse=True)
def stages_start_warm(warm_stages: WarmStages, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run in this process has its stages forked."""
    monkeypatch.setattr(stage_process, "subprocess", warm_stages)


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
