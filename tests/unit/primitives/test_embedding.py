"""An embedding: vector, dimensions, model, text and hash, all consistent."""

import numpy as np
import pytest
from pydantic import ValidationError

from nvisy.primitives import Chunk, Embedding


def test_dimensions_and_hash_follow_from_vector_and_text():
    embedding = Embedding(vector=[0.5, 1], model="m@1", text="x")
    assert embedding.dimensions == 2
    assert embedding.content_hash == Chunk(text="x").content_hash


def test_its_vector_is_float32_and_read_only_and_its_own():
    given = np.array([1.0, 2.0], dtype=np.float32)
    embedding = Embedding(vector=given, model="m@1")
    given[0] = 9
    assert embedding.vector.dtype == np.float32
    assert embedding.vector[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        embedding.vector[0] = 2


def test_a_read_only_vector_is_taken_as_it_is():
    given = np.array([1.0, 2.0], dtype=np.float32)
    given.setflags(write=False)
    assert Embedding(vector=given, model="m@1").vector is given


@pytest.mark.parametrize(
    ("vector", "said"),
    [
        ([1, float("nan")], "finite numbers only"),
        ([float("-inf"), 1], "finite numbers only"),
        ([1e300], "finite numbers only"),
        ([], "at least one number"),
        ([[1, 2]], "has one dimension"),
        ("text", "sequence of numbers"),
        (None, "finite|shape"),
        ([1, "a"], "sequence of numbers"),
    ],
)
def test_what_is_no_vector_is_refused(vector, said):
    with pytest.raises(ValidationError, match=said):
        Embedding(vector=vector, model="m@1")


def test_huge_finite_numbers_are_numbers():
    assert Embedding(vector=[3e38, 3e38], model="m@1").dimensions == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dimensions": 3}, "dimensions is 3, and the vector has 2"),
        ({"text": "x", "content_hash": "0" * 32}, "not the hash of the text"),
        ({"model": ""}, "at least 1 character"),
        ({"span": (2, 1)}, "a span runs"),
    ],
)
def test_what_contradicts_itself_is_refused(wrong, said):
    with pytest.raises(ValidationError, match=said):
        Embedding(**{"vector": [1, 2], "model": "m@1", **wrong})


@pytest.mark.parametrize(
    "wrong",
    [
        {"vector": np.array([1, np.nan], np.float32)},
        {"vector": np.array([], np.float32), "dimensions": 0},
        {"dimensions": 1},
        {"model": ""},
        {"span": (2, 1)},
    ],
)
def test_one_that_comes_from_outside_is_checked_all_the_same(wrong):
    fields = dict(Embedding(vector=[1, 2], model="m@1", text="x").__dict__)
    with pytest.raises(ValidationError):
        Embedding.decoded({**fields, **wrong})
