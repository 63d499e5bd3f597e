"""The oracle says what it should, and finds what is wrong."""

from __future__ import annotations

from collections import Counter

from nvisy.testing.model_server import ModelServer
from tests.faults.oracle import Entry, Oracle, compare, entries, vector_of

TWO = "one river\n\ntwo cloud"


def held(text: str, shape: str = "chain", sink: str = "index") -> dict[str, Counter[Entry]]:
    return {"a": entries(shape, sink, text)}


def test_passages_have_their_place_in_the_text() -> None:
    assert sorted(held("one\n\n \n\ntwo")["a"]) == [Entry("one", 0, 3, 3), Entry("two", 8, 11, 3)]


def test_each_graph_has_its_own_records() -> None:
    assert [one.text for one in entries("branch", "index", TWO)] == ["ONE RIVER", "two cloud"]
    assert [one.text for one in entries("fanout", "other", TWO)] == ["one river"]


def test_what_is_missing_and_what_is_too_much_is_told_apart() -> None:
    oracle = Oracle("chain")
    oracle.says("a", TWO)
    oracle.says("b", "three")
    oracle.says("b", None)
    assert compare(oracle, "index", held(TWO)) == ([], [])
    lost, extra = compare(oracle, "index", {**held("one river"), "b": entries("chain", "index", "three")})
    assert lost == ["index a: 'two cloud' at 11:20"]
    assert extra == ["index b: 'three' at 0:5"]


def test_a_version_that_fails_leaves_the_one_before_it() -> None:
    oracle = Oracle("chain")
    oracle.says("a", "good")
    oracle.settle()
    oracle.says("a", "BAD now")
    assert compare(oracle, "index", held("good")) == ([], [])
    assert oracle.letters() == {"a"}
    oracle.settle()
    oracle.says("a", None)
    assert compare(oracle, "index", {}) == ([], [])
    assert not oracle.letters()


def test_what_one_sink_refuses_another_may_take() -> None:
    oracle = Oracle("fanout")
    oracle.says("a", "old river")
    oracle.settle()
    refused = "new river\n\ncloud REFUSE"
    oracle.says("a", refused)
    assert oracle.letters() == {"a"}
    assert compare(oracle, "index", held("old river")) == ([], [])
    assert compare(oracle, "index", held(refused)).extra
    assert compare(oracle, "other", held(refused, "fanout", "other")) == ([], [])
    assert compare(oracle, "other", held("old river", "fanout", "other")).lost


def test_a_version_that_nobody_looked_at_may_be_missed_but_no_other() -> None:
    oracle = Oracle("chain")
    for text in ("first", "second", "BAD"):
        oracle.says("a", text)
    for text in ("first", "second"):
        assert compare(oracle, "index", held(text)) == ([], [])
    assert compare(oracle, "index", held("third")).lost or compare(oracle, "index", held("third")).extra


def test_the_model_of_the_tests_is_the_one_the_oracle_knows() -> None:
    with ModelServer(dimensions=8) as server:
        vector = server.vector("a passage")
    assert all(abs(a - b) < 1e-6 for a, b in zip(vector.tolist(), vector_of("a passage"), strict=True))
