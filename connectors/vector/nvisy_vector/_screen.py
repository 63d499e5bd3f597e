"""Keeps one set's bad data from failing its whole batch: looked for before writing, narrowed down after."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from nvisy.connector.sink import Outcome, Record, RecordSet
from nvisy.errors import Rejected


def fault_in(
    record_set: RecordSet, records: Sequence[Record], dimensions: int, *, nul: bool
) -> Rejected | None:
    """Why these records of a set cannot be stored, or None.

    Args:
        record_set: The set, named in the message.
        records: Those of its records that would be written.
        dimensions: Length of the collection's vectors.
        nul: Whether the store can hold the character U+0000.
    """
    if len({record.id for record in record_set.records}) < len(record_set.records):
        return _rejected(record_set, "two of its records have the same id")
    for number, record in enumerate(records):
        reason = _wrong_vector(record, dimensions) or _wrong_text(record, nul) or _wrong_metadata(record, nul)
        if reason:
            return _rejected(record_set, f"record {number} ({record.id}): {reason}")
    return None


def key_fault(record_set: RecordSet, *, nul: bool) -> Rejected | None:
    """Why nothing can be stored under the set's key, or None."""
    reason = _wrong_string(record_set.key, nul)
    return (
        Rejected(f"the key {record_set.key!r} cannot be stored: it {reason}", kind="sink") if reason else None
    )


def storable(key: str, *, nul: bool) -> bool:
    """Whether anything can be stored under this key."""
    return not _wrong_string(key, nul)


def narrowed(
    sets: Sequence[RecordSet], write: Callable[[Sequence[RecordSet]], Sequence[Outcome]]
) -> Sequence[Outcome]:
    """`write(sets)`; where that raises `Rejected`, each half by itself, down to the set at fault."""
    try:
        return write(sets)
    except Rejected as error:
        if len(sets) == 1:
            return [Outcome(fault=error)]
        half = len(sets) // 2
        return [*narrowed(sets[:half], write), *narrowed(sets[half:], write)]


def _rejected(record_set: RecordSet, reason: str) -> Rejected:
    return Rejected(f"{record_set.key!r} cannot be stored: {reason}", kind="sink")


def _wrong_vector(record: Record, dimensions: int) -> str:
    vector = record.vector
    if vector.shape != (dimensions,):
        return f"its vector has the shape {vector.shape}, the collection holds {dimensions} dimensions"
    finite = math.isfinite(float(vector @ vector)) or np.isfinite(vector).all()
    return "" if finite else "its vector holds a number that is not finite"


def _wrong_text(record: Record, nul: bool) -> str:
    for name, value in (("text", record.text), ("source_uri", record.source_uri or "")):
        if reason := _wrong_string(value, nul):
            return f"its {name} {reason}"
    return ""


def _wrong_metadata(record: Record, nul: bool) -> str:
    for name, value in record.metadata.items():
        if isinstance(value, float) and not math.isfinite(value):
            return f"metadata {name!r} is {value}, which JSON cannot hold"
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"metadata {name!r} does not fit into 64 bits"
        strings = value if isinstance(value, list) else [value] if isinstance(value, str) else []
        for text in (name, *strings):
            if reason := _wrong_string(text, nul):
                return f"metadata {name!r} {reason}"
    return ""


def _wrong_string(text: str, nul: bool) -> str:
    if not nul and "\0" in text:
        return "holds the character U+0000, which this store does not take"
    if text.isascii():
        return ""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair, which is not a character"
    return ""
