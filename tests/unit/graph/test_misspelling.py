"""Names that are one slip away from a known one."""

from __future__ import annotations

import re

import pytest

from nvisy.graph.misspelling import other_than

PATTERN = re.compile(other_than(["chunk", "vector/sqlite", "map", "a.b-c"], {"topic"}))


@pytest.mark.parametrize(
    "name",
    ["chnk", "chunkk", "xchunk", "chumk", "cuhnk", "vector/sqllite", "vector_sqlite", "axb-c", "topic", ""],
)
def test_a_slip_is_refused(name: str) -> None:
    assert not PATTERN.search(name)


@pytest.mark.parametrize("name", ["redact", "chunkers", "chk", "vector/milvus", "tap", "topics", "axb-d"])
def test_other_names_are_not(name: str) -> None:
    assert PATTERN.search(name)
