"""`vector/sqlite` keeps a sink's promises, and has its own errors in words."""

from __future__ import annotations

import pytest
from nvisy_vector.sqlite import DESCRIPTOR, SqliteParams, SqliteSink

from nvisy.testing.sink_conformance import SinkConformance


class TestConformance(SinkConformance):
    descriptor = DESCRIPTOR
    drivers = ("apsw", "sqlite_vec")

    @pytest.fixture
    def make_sink(self, tmp_path):
        params = SqliteParams(path=tmp_path / "folder" / "index.db", collection="docs")
        return lambda: SqliteSink(params)
