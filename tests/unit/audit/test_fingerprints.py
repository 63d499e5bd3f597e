"""Two records have the same fingerprint if, and only if, nothing that counts differs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nvisy.audit.fingerprints import ids_hash, of_expected, of_held, payload_hash_of
from nvisy.connector.sink import HeldRecord, Hit, Record
from nvisy.primitives import Span
from nvisy.testing.records import make_set, vector_of

RECORD = make_set(
    "a.md", ["some text"], metadata={"n": 2, "x": 0.5, "yes": True, "list": ["a"], "none": None}
).records[0]


def held(record: Record, **changes: Any) -> HeldRecord:
    """The record as a store gives it back."""
    lineage = {
        "source": "files",
        "content_hash": record.content_hash,
        "steps": record.steps,
        "model": record.model,
        "version": 1,
    }
    hit = Hit(record.id, "a.md", record.source_uri, record.text, record.span, None, record.metadata, lineage)
    vector = changes.pop("vector", record.vector)
    lineage |= {name: changes.pop(name) for name in list(changes) if name in lineage}
    return HeldRecord(replace(hit, lineage=lineage, **changes), vector)


def differences(record: Record, one: HeldRecord, *, keeps_vectors: bool = True) -> list[str]:
    expected = of_expected(record, "files", keeps_vectors=keeps_vectors)
    return expected.differs(of_held(one, keeps_vectors=keeps_vectors), keeps_vectors=keeps_vectors)


def test_what_comes_back_as_it_was_written_is_the_same() -> None:
    assert differences(RECORD, held(RECORD)) == []
    assert differences(RECORD, held(RECORD), keeps_vectors=False) == []


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("the vector", {"vector": -RECORD.vector}),
        ("the vector", {"vector": np.nextafter(RECORD.vector, np.float32(9))}),
        ("the vector", {"vector": None}),
        ("the text", {"text": "some Text"}),
        ("the text", {"content_hash": "0" * 32}),
        ("the configuration", {"steps": "x@1"}),
        ("the configuration", {"model": "other@1"}),
        ("place or metadata", {"source_uri": "file:///b.md"}),
        ("place or metadata", {"span": Span(1, 9)}),
        ("place or metadata", {"span": None}),
        ("place or metadata", {"source": "others"}),
        ("place or metadata", {"metadata": {**RECORD.metadata, "n": 3}}),
        ("place or metadata", {"metadata": {**RECORD.metadata, "yes": 1}}),
        ("place or metadata", {"metadata": {**RECORD.metadata, "none": "None"}}),
        ("place or metadata", {"metadata": {**RECORD.metadata, "list": ["a", "b"]}}),
        ("place or metadata", {"metadata": {}}),
    ],
)
def test_each_thing_that_is_another_is_named(what: str, changes: dict[str, Any]) -> None:
    assert differences(RECORD, held(RECORD, **changes)) == [what]


@pytest.mark.parametrize(("written", "read"), [(1e22, 10**22), (2.0, 2), (-0.0, 0), (1e308, int(1e308) + 1)])
def test_a_number_may_come_back_in_another_form(written: float, read: int) -> None:
    record = replace(RECORD, metadata={"n": written})
    assert differences(record, held(record, metadata={"n": read})) == []


def test_a_store_may_bring_a_vector_to_length_1() -> None:
    record = replace(RECORD, vector=vector_of("some text", 300) * 7)
    unit = record.vector / np.linalg.norm(record.vector)
    other = unit.copy()
    other[17] *= -1
    assert differences(record, held(record, vector=unit.astype(np.float32)), keeps_vectors=False) == []
    assert differences(record, held(record, vector=other), keeps_vectors=False) == ["the vector"]
    assert differences(record, held(record, vector=-unit), keeps_vectors=False) == ["the vector"]
    assert differences(record, held(record, vector=None), keeps_vectors=False) == ["the vector"]


def test_the_payload_is_hashed_as_the_runtime_hashes_it_where_no_number_can_change_its_form() -> None:
    record = make_set("a.md", ["some text"], metadata={"lang": "en", "n": 2}).records[0]
    assert payload_hash_of(held(record)) == payload_hash_of(held(record))
    assert payload_hash_of(held(record)) != payload_hash_of(held(record, text="other"))
    assert payload_hash_of(held(RECORD)) == "", "0.5 may come back as anything"


def test_a_head_is_hashed_whatever_its_order() -> None:
    one, two = ("a", ("v", "p")), ("b", ("w", "q"))
    assert ids_hash(dict([one, two])) == ids_hash(dict([two, one]))
    assert ids_hash(dict([one])) != ids_hash(dict([one, two])) != ids_hash({"a": ("p", "v"), "b": ("w", "q")})
