"""A chunk: text with a place."""

import pytest
from pydantic import ValidationError

from nvisy.primitives import Chunk, Span, content_hash


def test_its_hash_is_that_of_its_text_wherever_it_stands():
    assert Chunk(text="x", span=(0, 1)).content_hash == Chunk(text="x", span=(9, 10), ordinal=3).content_hash
    assert Chunk(text="x").content_hash == content_hash("x")


def test_a_pair_becomes_a_span():
    assert Chunk(text="x", span=(3, 4)).span == Span(3, 4)


@pytest.mark.parametrize(
    "fields",
    [
        {"text": ""},
        {"text": "x", "span": (2, 1)},
        {"text": "x", "span": (-1, 1)},
        {"text": "x", "ordinal": -1},
    ],
)
def test_an_empty_text_or_an_impossible_place_is_refused(fields):
    with pytest.raises(ValidationError):
        Chunk(**fields)


@pytest.mark.parametrize("wrong", [{"text": ""}, {"span": Span(2, 1)}, {"ordinal": -1}])
def test_one_that_comes_from_outside_is_checked_all_the_same(wrong):
    fields = dict(Chunk(text="x", span=(0, 1)).__dict__)
    assert Chunk.decoded(dict(fields)) == Chunk(text="x", span=(0, 1))
    with pytest.raises(ValidationError):
        Chunk.decoded({**fields, **wrong})
