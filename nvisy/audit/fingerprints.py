"""What is compared of a record, in some hundred bytes: made of what the log says, and of what a store gives back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nvisy.connector.sink import HeldRecord, Record, Vector
from nvisy.primitives.primitive import content_hash
from nvisy.primitives.provenance import Span
from nvisy.runtime.records import payload_hash

TOLERANCE = 2e-5
"""How far a part of a sketch may be off: what bringing a vector to length 1 twice costs is a hundredth of it."""

_EXACT_BELOW = 2**63
_SKETCHES = 4


class Fingerprint(NamedTuple):
    """A record, in hashes. `vector` is a hash, or a sketch where the store does not keep vectors to the last bit.

    The other hashes are Python's own, keyed anew in each process: they are compared within one, and kept by none.
    """

    vector: str
    text: int
    configuration: int
    rest: int

    def differs(self, held: Fingerprint, *, keeps_vectors: bool) -> list[str]:
        """What is another in the record that a store holds, in words."""
        vector = self.vector == held.vector or (not keeps_vectors and _alike(self.vector, held.vector))
        same = {
            "the vector": vector,
            "the text": self.text == held.text,
            "the configuration": self.configuration == held.configuration,
            "place or metadata": self.rest == held.rest,
        }
        return [what for what, is_same in same.items() if not is_same]


def of_expected(record: Record, source: str, *, keeps_vectors: bool) -> Fingerprint:
    """Of a record that the log leads to."""
    return Fingerprint(
        record.vector_hash if keeps_vectors else _sketch(record.vector),
        hash((record.text, record.content_hash)),
        hash((record.steps, record.model)),
        _rest(source, record.source_uri, record.span, record.metadata),
    )


def of_held(held: HeldRecord, *, keeps_vectors: bool) -> Fingerprint:
    """Of a record that a store holds."""
    hit, lineage = held.hit, held.hit.lineage
    return Fingerprint(
        _vector_hash(held.vector, keeps_vectors=keeps_vectors),
        hash((hit.text, lineage["content_hash"] or "")),
        hash((lineage["steps"] or "", lineage["model"] or "")),
        _rest(lineage["source"] or "", hit.source_uri, hit.span, hit.metadata),
    )


def payload_hash_of(held: HeldRecord) -> str:
    """The hash that a head has of a record's payload, made of what the store holds.

    Nothing where that cannot be told: a store may give a number back in another form than it got.
    """
    hit = held.hit
    if any(isinstance(value, float) for value in _values(hit.metadata)):
        return ""
    return payload_hash(hit.text, hit.span, hit.source_uri, dict(hit.metadata), hit.lineage["steps"] or "")


def ids_hash(ids: Mapping[str, tuple[str, str]]) -> int:
    """Hash of what a head says of its records: their ids, and the hashes of vectors and payloads."""
    return hash(tuple(sorted((name, *hashes) for name, hashes in ids.items())))


def _rest(source: str, uri: str, span: Span | None, metadata: Mapping[str, Any]) -> int:
    plain = tuple(sorted((name, _plain(value)) for name, value in metadata.items()))
    return hash((source, uri, span and tuple(span), plain))


def _plain(value: Any) -> Any:
    """A value of metadata in one form, whichever of its forms a store gives it back in: 2.0 and 2 are the same."""
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    if isinstance(value, bool) or value is None:
        return repr(value), None  # no number, and no text
    return float(value) if isinstance(value, int) and abs(value) >= _EXACT_BELOW else value


def _values(metadata: Mapping[str, Any]) -> list[Any]:
    return [each for value in metadata.values() for each in (value if isinstance(value, list) else [value])]


def _vector_hash(vector: Vector | None, *, keeps_vectors: bool) -> str:
    if vector is None:
        return ""
    return content_hash(vector.tobytes()) if keeps_vectors else _sketch(vector)


def _sketch(vector: Vector) -> str:
    """A unit vector's products with some fixed ones: alike where vectors are, whatever was rounded between."""
    length = float(np.linalg.norm(vector))
    unit = vector.astype(np.float64) / length if length else vector.astype(np.float64)
    return (_signs(len(vector)) @ unit).astype("<f4").tobytes().hex()


def _alike(one: str, other: str) -> bool:
    if len(one) != len(other) or not one:
        return False
    left, right = (np.frombuffer(bytes.fromhex(sketch), "<f4") for sketch in (one, other))
    return bool(np.allclose(left, right, rtol=0, atol=TOLERANCE))


@lru_cache(maxsize=4)
def _signs(dimensions: int) -> NDArray[np.float64]:
    return np.random.default_rng(dimensions).choice([-1.0, 1.0], (_SKETCHES, dimensions))
