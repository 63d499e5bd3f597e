"""`vector/qdrant` keeps a sink's promises on Qdrant's own engine, and has its own errors in words."""

from __future__ import annotations

import pytest
from nvisy_vector.qdrant import DESCRIPTOR, QdrantParams, QdrantSink

from nvisy.testing.sink_conformance import SinkConformance

from .qdrant_double import QdrantDouble

API_KEY = "a-secret-key"


@pytest.fixture
def qdrant(tmp_path):
    double = QdrantDouble(tmp_path, API_KEY)
    yield double
    double.close()


class TestConformance(SinkConformance):
    descriptor = DESCRIPTOR
    drivers = ("qdrant_client", "httpx", "grpc")
    secrets = (API_KEY,)
    many = 260

    @pytest.fixture
    def make_sink(self, qdrant):
        params = QdrantParams(url=qdrant.url, collection="docs", apiKey=API_KEY)
        return lambda: QdrantSink(params)
