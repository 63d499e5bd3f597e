"""`nvisy search` and `nvisy records`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvisy.catalog import Catalog
from tests.unit.cli.conftest import Call
from tests.unit.test_query import MemoryIndex, catalog


@pytest.fixture(autouse=True)
def _index(nvisy: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    found = catalog(MemoryIndex())
    monkeypatch.setattr(Catalog, "installed", classmethod(lambda _cls: found))


def test_what_is_found_is_printed_for_people(nvisy: Call, graph: Path) -> None:
    ended = nvisy("search", graph, "alpha", "-k", "2")
    assert (ended.code, ended.out) == (0, " 0.900  a.md\n        alpha\n 0.400  b.md\n        beta\n")


def test_what_is_found_is_a_list_for_machines(nvisy: Call, graph: Path) -> None:
    assert nvisy("search", graph, "alpha", "-k", "1", "--json").json() == [
        {
            "id": "1",
            "score": 0.9,
            "key": "a.md",
            "source_uri": "file:///a.md",
            "text": "alpha",
            "span": [0, 5],
        }
    ]


def test_an_empty_question_is_wrong_usage(nvisy: Call, graph: Path) -> None:
    ended = nvisy("search", graph, "")
    assert (ended.code, ended.err) == (2, "nvisy: the question is empty\n")


def test_a_filter_that_does_not_compile_is_wrong_usage(nvisy: Call, graph: Path) -> None:
    ended = nvisy("search", graph, "alpha", "--filter", "lang ==")
    assert ended.code == 2
    assert ended.err.startswith("nvisy: --filter, ")


def test_records_are_objects_a_line_with_metadata_and_without_a_score(nvisy: Call, graph: Path) -> None:
    lines = [json.loads(line) for line in nvisy("records", graph, "--json").out.splitlines()]
    assert [line["key"] for line in lines] == ["a.md", "b.md"]
    assert lines[0]["metadata"] == {"lang": "en"}
    assert "score" not in lines[0]
    assert nvisy("records", graph, "--key", "b.md").out == "2  b.md  beta\n"
