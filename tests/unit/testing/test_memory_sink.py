"""The sink in memory keeps every promise."""

import pytest

from nvisy.testing.memory_sink import DESCRIPTOR, MemorySink, Store
from nvisy.testing.sink_conformance import GenerationConformance


class TestConformance(GenerationConformance):
    descriptor = DESCRIPTOR

    @pytest.fixture
    def make_sink(self):
        return lambda: MemorySink(self.store)

    @pytest.fixture
    def make_generation(self):
        return lambda number: MemorySink(self.store, number)

    @pytest.fixture(autouse=True)
    def _new(self):
        self.store = Store()
