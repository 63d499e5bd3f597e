"""The base of every primitive: identity, hash, equality, and what a user's function may write."""

import copy
import pickle

import numpy as np
import pytest
from pydantic import ValidationError

from nvisy.primitives import (
    Chunk,
    Document,
    Embedding,
    Primitive,
    Provenance,
    Version,
    content_hash,
    derive_id,
)

ORIGIN = Provenance("files", "a.md", uri="file:///a.md", version=Version(1, 7))


def test_a_function_builds_one_from_its_content_alone():
    document = Document(text="hello", metadata={"lang": "en", "tags": ["a", "b"]})
    assert (document.id, document.provenance, document.key, document.version) == ("", None, "", None)
    assert document.content_hash == content_hash("hello")


def test_key_and_version_come_from_its_provenance():
    document = Document(text="hello", provenance=ORIGIN)
    assert (document.key, document.version) == ("a.md", Version(1, 7))


def test_the_content_hash_says_nothing_of_place_or_metadata():
    assert Document(text="x", metadata={"a": 1}).content_hash == Document(text="x", id="other").content_hash
    assert Document(text="x").content_hash != Document(text="y").content_hash


def test_a_users_own_class_hashes_all_its_own_fields():
    class Invoice(Primitive):
        total: float
        lines: tuple[str, ...] = ()

    assert Invoice(total=1).content_hash == Invoice(total=1, metadata={"a": 1}).content_hash
    assert Invoice(total=1).content_hash != Invoice(total=2).content_hash


def test_identity_repeats_in_a_second_run_and_differs_between_nodes():
    settings = {"discriminator": "d", "steps": "text@1", "parent": "p", "provenance": ORIGIN}
    first, second = (Document(text="x").identified(node="n", **settings) for _ in range(2))
    assert first.id == second.id == derive_id("files", "a.md", "n", "d")
    assert first.id != Document(text="x").identified(node="m", **settings).id
    assert (first.steps, first.parent, first.provenance) == ("text@1", "p", ORIGIN)


def test_it_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Document(text="x").text = "y"


def test_metadata_given_is_copied():
    given = {"a": 1}
    document = Document(text="x", metadata=given)
    given["a"] = 2
    assert document.metadata == {"a": 1}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"deep": 1}, "it may hold null, a boolean, a number, a string or a list of strings"),
        ([1, 2], "it may hold"),
        (2**63, "beyond 64 bits"),
        (float("nan"), "which no store can compare"),
        (float("inf"), "which no store can compare"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_metadata_that_no_store_could_hold_is_refused_by_name(value, said):
    with pytest.raises(ValidationError, match=said) as caught:
        Document(text="x", metadata={"field": value})
    assert "'field'" in str(caught.value)


def test_an_unknown_field_is_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Document(text="x", txet="y")


def test_equal_ones_are_equal_and_hash_alike():
    one, other = (Embedding(vector=[1, 2], model="m@1", text="x") for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Embedding(vector=[1, 3], model="m@1", text="x")
    assert one != Chunk(text="x")


def test_repr_fits_on_a_line_and_dumps_no_bulk():
    shown = repr(Embedding(vector=np.zeros(4096), model="m@1", text="word " * 500))
    assert shown.startswith("Embedding(")
    assert "<float32 (4096,)>" in shown
    assert len(shown) < 300
    assert "<500 bytes>" in str(Document(content=b"z" * 500))


def test_a_trusted_one_is_like_any_other():
    plain = Chunk(text="x", span=(0, 1))
    trusted = Chunk.trusted(dict(plain.__dict__))
    assert trusted == plain
    assert trusted.model_copy(update={"ordinal": 2}).ordinal == 2
    assert copy.deepcopy(trusted) == pickle.loads(pickle.dumps(trusted)) == plain
    assert Chunk.model_validate_json(trusted.model_dump_json()) == plain


def test_a_class_may_choose_its_own_type_name():
    class Bill(Primitive):
        type = "Invoice"

    assert Bill().type == "Invoice"
    assert Document.type == "Document"
