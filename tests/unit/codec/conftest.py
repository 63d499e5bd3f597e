import pytest

from nvisy.codec import Codec
from nvisy.codec.file_registry import FileRegistry
from nvisy.primitives import PrimitiveTypes
from tests.unit.codec.samples import Invoice


@pytest.fixture
def registry(tmp_path):
    return FileRegistry(tmp_path / "schemas")


@pytest.fixture
def codec(registry):
    return Codec(registry, PrimitiveTypes([Invoice]))
