"""The sink in memory keeps every promise."""

import pytest

from nvisy.testing.memory_sink import DESCRIPTOR, MemorySink, Store
from nvisy.testing.sink_conformance import SinkConformance


class TestConformance(SinkConformance):
    descriptor = DESCRIPTOR

    @pytest.fixture
    def make_sink(self):
        store = Store()
        return lambda: MemorySink(store)
