"""`vector/pgvector` keeps a sink's promises on a real Postgres, and has its own errors in words."""

from __future__ import annotations

import pytest
from nvisy_vector.pgvector import DESCRIPTOR, PgvectorParams, PgvectorSink

from nvisy.testing.sink_conformance import SinkConformance

pytestmark = pytest.mark.postgres


class TestConformance(SinkConformance):
    descriptor = DESCRIPTOR
    drivers = ("psycopg",)

    @pytest.fixture
    def make_sink(self, pg_dsn):
        params = PgvectorParams(dsn=pg_dsn, collection="docs")
        return lambda: PgvectorSink(params)
