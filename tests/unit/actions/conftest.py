from pathlib import Path

import pytest

from nvisy.connector.descriptor import Context
from nvisy.connector.shape import Shape
from nvisy.primitives.document import Document
from tests.unit.actions.fakes import RecordingModel


@pytest.fixture
def model() -> RecordingModel:
    return RecordingModel()


@pytest.fixture
def context(tmp_path: Path, model: RecordingModel) -> Context:
    return Context(tmp_path, tmp_path / ".nvisy", lambda _name, _params: model, Shape(Document))
