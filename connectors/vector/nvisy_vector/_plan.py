"""What has to be written so that a store holds a record set, given the head it has for that key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import orjson

from nvisy.connector.sink import Outcome, Record, RecordSet
from nvisy.errors import Rejected

Key = tuple[str, str]
"""(lane, key)."""


class Head(NamedTuple):
    """What a store remembers of a key, also when nothing of it is left.

    Attributes:
        version: The highest version applied.
        digest: Hash over the records of that version.
        ids: JSON, `{id: [vector hash, payload hash]}`.
    """

    version: int
    digest: str
    ids: str | bytes


@dataclass(frozen=True, slots=True)
class Step:
    """One set of a batch, and what to do about it.

    Attributes:
        record_set: The set.
        state: `superseded`: the head is newer. `same`: nothing but the version may differ. `faulty`: it
            cannot be stored. `changed`: write `vectors` and `payloads`, remove whatever else the key has.
        head: What the store had before.
        vectors: Records to write whole.
        payloads: Records whose vector is in the store already.
        fault: Why the set cannot be stored.
    """

    record_set: RecordSet
    state: Literal["superseded", "same", "faulty", "changed"]
    head: Head | None = None
    vectors: tuple[Record, ...] = ()
    payloads: tuple[Record, ...] = ()
    fault: Rejected | None = None

    @property
    def key(self) -> Key:
        """(lane, key)."""
        return self.record_set.lane, self.record_set.key

    @property
    def stale_head(self) -> bool:
        """Whether the head has to be written, if only for its version."""
        if self.state == "same":
            return self.head is not None and self.head.version < self.record_set.version
        return self.state == "changed"

    def whole(self) -> Step:
        """The same set, written whole whatever the store holds."""
        return replace(self, state="changed", vectors=self.record_set.records, payloads=())

    def outcome(self, removed: int = 0) -> Outcome:
        """What becomes of the set once the step is done."""
        if self.state == "superseded":
            return Outcome(superseded=True)
        if self.state == "faulty":
            return Outcome(fault=self.fault)
        written = len(self.vectors)
        return Outcome(written=written, removed=removed, unchanged=len(self.record_set.records) - written)


Fault = Callable[[RecordSet, Sequence[Record]], Rejected | None]
"""`(set, those of its records that would be written) -> why they cannot be`."""


def plan(sets: Iterable[RecordSet], heads: Mapping[Key, Head], fault: Fault) -> list[Step]:
    """One step per set, given the heads that the store has."""
    return [_step(record_set, heads.get((record_set.lane, record_set.key)), fault) for record_set in sets]


def plan_anew(sets: Iterable[RecordSet], fault: Fault) -> list[Step]:
    """One step per set, which writes all of it whatever the store holds."""
    steps = []
    for record_set in sets:
        error = fault(record_set, record_set.records)
        steps.append(
            Step(record_set, "faulty", fault=error)
            if error is not None
            else Step(record_set, "changed", vectors=record_set.records)
        )
    return steps


def _step(record_set: RecordSet, head: Head | None, fault: Fault) -> Step:
    if head is not None and record_set.version < head.version:
        return Step(record_set, "superseded", head)
    if head is not None and record_set.digest == head.digest:
        return Step(record_set, "same", head)
    known = orjson.loads(head.ids) if head is not None else {}
    vectors, payloads = [], []
    for record in record_set.records:
        vector_hash, payload_hash = known.get(record.id, ("", ""))
        if record.vector_hash != vector_hash:
            vectors.append(record)
        elif record.payload_hash != payload_hash:
            payloads.append(record)
    error = fault(record_set, [*vectors, *payloads])
    if error is not None:
        return Step(record_set, "faulty", head, fault=error)
    return Step(record_set, "changed", head, tuple(vectors), tuple(payloads))
