"""Asking an index: with the graph's own model, and only where that makes sense."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

import nvisy
from nvisy.catalog import Catalog
from nvisy.connector.sink import Hit
from nvisy.errors import ExpressionError, Fatal, Refused, UsageError
from nvisy.graph.validate import CheckedGraph
from nvisy.models.hash import DESCRIPTOR as HASH
from nvisy.primitives import Span
from nvisy.query import embed, records, search
from tests.unit.graph.fakes import DESCRIPTORS, NODES, chain, checked

HITS = (
    Hit("1", "a.md", "file:///a.md", "alpha", Span(0, 5), 0.9, {"lang": "en"}),
    Hit("2", "b.md", "file:///b.md", "beta", None, 0.4),
)


@dataclass
class MemoryIndex:
    """An index that notes what it is asked."""

    model: str = "local/hash@1"
    dimensions: int = 256
    asked: list[Any] = field(default_factory=list)
    closed: bool = False
    collection: str = "one"
    dropped: bool = False

    def search(self, vector: Any, k: int, where: Any) -> Sequence[Hit]:
        if self.dropped:
            raise Fatal("it is gone")
        self.asked.append((vector, k, where))
        return HITS[:k]

    def records(self, key: str | None) -> Iterator[Hit]:
        yield from (replace(hit, score=None) for hit in HITS if key in (None, hit.key))

    def close(self) -> None:
        self.closed = True


@dataclass
class MemorySink:
    held: MemoryIndex
    later: MemoryIndex | None = None

    def index(self) -> MemoryIndex:
        found, self.held = self.held, self.later or self.held
        return found


def catalog(index: MemoryIndex, later: MemoryIndex | None = None) -> Catalog:
    """The catalogue of the other tests, with a model that works and a sink that can be read."""
    sink = MemorySink(index, later)

    def opened(part: Any) -> Any:
        return replace(part, open=lambda *_: sink) if part.name == "vector/sqlite" else part

    return Catalog.of([HASH, *(opened(part) for part in DESCRIPTORS if part.name != HASH.name)])


def graph(index: MemoryIndex, value: Any = None) -> CheckedGraph:
    return checked(value or chain(), catalog=catalog(index))


def test_a_question_is_embedded_as_the_graph_embeds_its_texts() -> None:
    index = MemoryIndex(dimensions=64)
    value = chain(embed={**NODES["embed"], "params": {"model": "local/hash", "dimensions": 64}})
    assert search(graph(index, value), "alpha beta", 1) == [HITS[0]]
    vector, k, where = index.asked[0]
    with_params = catalog(index).open_model("local/hash", {"dimensions": 64})
    assert np.array_equal(vector, with_params.embed(["alpha beta"]).vectors[0])
    assert (k, where) == (1, None)
    assert index.closed


def test_the_vector_of_a_question_is_the_one_that_a_search_asks_with() -> None:
    index = MemoryIndex()
    vector = embed(graph(index), "alpha beta", sink="index")
    search(graph(index), "alpha beta")
    assert vector == index.asked[0][0].tolist()
    assert index.closed
    with pytest.raises(Refused, match="and the graph embeds with"):
        embed(graph(MemoryIndex(model="local/hash@0")), "alpha")


@pytest.mark.parametrize("question", ["", " \n"])
def test_an_empty_question_is_no_question(question: str) -> None:
    for ask in (search, embed):
        with pytest.raises(UsageError, match="the question is empty"):
            ask(graph(MemoryIndex()), question)


def test_a_filter_reaches_the_store_as_a_tree() -> None:
    index = MemoryIndex()
    search(graph(index), "alpha", filter="metadata.lang == 'en'")
    assert "lang" in repr(index.asked[0][2])


def test_a_filter_that_does_not_compile_is_refused_before_anything_is_opened() -> None:
    index = MemoryIndex()
    with pytest.raises(ExpressionError):
        search(graph(index), "alpha", filter="metadata.lang ==")
    assert not index.asked


def test_vectors_of_another_model_are_not_compared() -> None:
    index = MemoryIndex(model="local/hash@0")
    with pytest.raises(
        Refused, match=r"holds vectors of local/hash@0, and the graph embeds with local/hash@1"
    ):
        search(graph(index), "alpha")
    assert index.closed


def test_an_index_that_was_replaced_and_dropped_meanwhile_is_left_for_the_one_that_is_there() -> None:
    gone, now = MemoryIndex(dropped=True), MemoryIndex(collection="two")
    found = search(checked(chain(), catalog=catalog(gone, now)), "alpha")
    assert (found, gone.closed, now.closed) == (list(HITS), True, True)
    with pytest.raises(Fatal):
        search(graph(MemoryIndex(dropped=True)), "alpha")


def test_a_sink_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(UsageError, match=r"no sink 'nowhere' that can be searched; there are: index"):
        search(graph(MemoryIndex()), "alpha", sink="nowhere")


def test_at_least_one_record_has_to_be_asked_for() -> None:
    with pytest.raises(UsageError):
        search(graph(MemoryIndex()), "alpha", 0)


def test_more_than_any_store_holds_may_be_asked_for() -> None:
    index = MemoryIndex()
    search(graph(index), "alpha", 10**20)
    assert index.asked[0][1] < 2**31


def test_records_are_streamed_and_the_index_is_closed_behind_them() -> None:
    index = MemoryIndex()
    listed = records(graph(index))
    assert [hit.id for hit in listed] == ["1", "2"]
    assert index.closed
    assert [hit.id for hit in records(graph(MemoryIndex()), "b.md")] == ["2"]


def test_a_server_awaits_the_same_answer() -> None:
    assert asyncio.run(nvisy.search_async(graph(MemoryIndex()), "alpha", 2)) == list(HITS)


def test_everything_public_can_be_had_from_the_package() -> None:
    assert all(getattr(nvisy, name) is not None for name in nvisy.__all__)
    assert nvisy.__all__ == sorted(nvisy.__all__)
    assert nvisy.search is search
    with pytest.raises(AttributeError):
        _ = nvisy.nothing  # type: ignore[attr-defined]
