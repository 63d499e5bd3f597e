"""A database for a test, on the server that the session shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .database import Database


@pytest.fixture
def database(pg_dsn: str) -> Iterator[Database]:
    """An empty database; its slots go with it."""
    database = Database(pg_dsn)
    yield database
    database.close()
