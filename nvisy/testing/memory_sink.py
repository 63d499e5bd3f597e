"""A sink that keeps its records in memory: the smallest one that keeps every promise, for tests and as a model."""

from __future__ import annotations

import math
import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from nvisy.connector.descriptor import Context, Params, SinkDescriptor
from nvisy.connector.sink import (
    HeldHead,
    HeldRecord,
    Hit,
    Outcome,
    Owner,
    Record,
    RecordSet,
    SinkCapabilities,
    Vector,
)
from nvisy.errors import Fatal, Refused, Rejected
from nvisy.expressions.filter import Filter, matches

Key = tuple[str, str]

CAPABILITIES = SinkCapabilities(
    accepts=frozenset({"Embedding"}),
    deletes=True,
    guarantee="transactional",
    max_batch_records=10_000,
    max_batch_bytes=64 << 20,
    max_dimensions=None,
    metadata=frozenset({"null", "bool", "int", "float", "str", "list"}),
    generations=True,
)


@dataclass
class Store:
    """What a server would hold of the first generation of a collection: give the same one to several sinks.

    Attributes:
        sets: The newest set of every key; a set without records remembers a delete.
        owner: Who writes into it; None until it is prepared.
        token: The highest fence token seen.
        collection_id: Its own id.
        others: The other generations, by number.
        current: Number of the generation that readers see; None until one is prepared.
    """

    sets: dict[Key, RecordSet] = field(default_factory=dict)
    owner: Owner | None = None
    token: int = 0
    collection_id: str = ""
    others: dict[int, Store] = field(default_factory=dict)
    current: int | None = None


class MemorySink:
    """A sink over a `Store`."""

    capabilities = CAPABILITIES

    def __init__(self, store: Store, generation: int = 1) -> None:
        self._first = store
        self._generation = generation
        self._store = store if generation == 1 else store.others.setdefault(generation, Store())

    def check(self) -> None:
        """Nothing can be wrong."""

    def prepare(self, owner: Owner, *, adopt: bool = False) -> str:
        """Give the store to its owner, or see that it is theirs already."""
        theirs = self._store.owner
        if theirs is None:
            self._store.owner, self._store.collection_id = owner, str(uuid.uuid4())
            if self._first.current is None:
                self._first.current = self._generation
            return self._store.collection_id
        if theirs.graph != owner.graph:
            raise Refused(f"the store belongs to the graph {theirs.graph}, not {owner.graph}")
        if theirs.log != owner.log and not adopt:
            raise Refused(f"the store was written from {theirs.log}, not {owner.log}: run with --adopt")
        if (theirs.model, theirs.dimensions) != (owner.model, owner.dimensions):
            raise Fatal(
                f"the store holds {theirs.dimensions} dimensions of {theirs.model}, and the graph makes "
                f"{owner.dimensions} of {owner.model}"
            )
        if theirs.log != owner.log:
            self._store.owner, self._store.token = replace(theirs, log=owner.log), 0
        return self._store.collection_id

    def open(self, token: int) -> MemoryWriter:
        """Start writing."""
        if token < self._store.token:
            raise Refused(f"the store is being written with token {self._store.token}, ours is {token}")
        self._store.token = token
        return MemoryWriter(self._store, token)

    def index(self, *, own: bool = False) -> MemoryIndex:
        """Start reading."""
        store = self._store if own else self._generations.get(self._first.current or 0)
        if store is None or store.owner is None:
            raise Refused("the store holds nothing yet: run the graph first")
        return MemoryIndex(store, store.owner)

    def current(self) -> int | None:
        """What readers see."""
        return self._first.current

    def serve(self, token: int) -> None:
        """Let readers see this generation."""
        self._take_over(token)
        if self._store.owner is None:
            raise Refused("readers cannot see what was never made")
        self._first.current = self._generation

    def drop(self, token: int) -> None:
        """Forget everything of this generation."""
        self._take_over(token)
        if self._first.current == self._generation:
            raise Refused("readers see it")
        self._store.sets.clear()
        self._store.owner, self._store.collection_id = None, ""

    @property
    def _generations(self) -> dict[int, Store]:
        return {1: self._first, **self._first.others}

    def _take_over(self, token: int) -> None:
        highest = max(store.token for store in self._generations.values())
        if highest > token:
            raise Refused(f"the store is being written with token {highest}, ours is {token}")
        for store in self._generations.values():
            store.token = token


class MemoryWriter:
    """An open `MemorySink`."""

    def __init__(self, store: Store, token: int) -> None:
        self._store = store
        self._token = token
        self._owner = store.owner

    def apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Replace what is older."""
        self._check_fence()
        return [self._replace(record_set) for record_set in sets]

    def rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Replace whatever is there."""
        self._check_fence()
        for record_set in sets:
            self._store.sets.pop((record_set.lane, record_set.key), None)
        return [self._replace(record_set) for record_set in sets]

    def remove(self, ids: Collection[str]) -> int:
        """Drop records, and leave the sets they were in as they are otherwise."""
        self._check_fence()
        count = 0
        for key, record_set in self._store.sets.items():
            kept = tuple(record for record in record_set.records if record.id not in ids)
            count += len(record_set.records) - len(kept)
            self._store.sets[key] = replace(record_set, records=kept)
        return count

    def head(self, lane: str, key: str) -> int | None:
        """Version of the newest set."""
        found = self._store.sets.get((lane, key))
        return found.version if found is not None else None

    def lanes(self) -> Collection[str]:
        """Lanes that have a set."""
        return {lane for lane, _ in self._store.sets}

    def sweep(self, lane: str, below: int) -> int:
        """Drop the sets that are older."""
        self._check_fence()
        swept = [s for s in self._store.sets.values() if s.lane == lane and s.version < below]
        for record_set in swept:
            del self._store.sets[lane, record_set.key]
        return sum(len(record_set.records) for record_set in swept)

    def settle(self) -> None:
        """Nothing to build."""

    def close(self) -> None:
        """Nothing to close."""

    def _check_fence(self) -> None:
        if self._store.owner != self._owner:
            raise Refused("the store was adopted by another log")
        if self._store.token > self._token:
            raise Refused(f"the store is being written with token {self._store.token}, ours is {self._token}")

    def _replace(self, new: RecordSet) -> Outcome:
        old = self._store.sets.get((new.lane, new.key))
        if old is not None and old.version > new.version:
            return Outcome(superseded=True)
        fault = self._fault(new)
        if fault:
            return Outcome(fault=Rejected(f"{new.key!r} cannot be stored: {fault}", kind="sink"))
        self._store.sets[new.lane, new.key] = new
        before = {r.id: r.vector_hash for r in old.records} if old is not None else {}
        unchanged = sum(before.get(r.id) == r.vector_hash for r in new.records)
        removed = len(before.keys() - {r.id for r in new.records})
        return Outcome(written=len(new.records) - unchanged, removed=removed, unchanged=unchanged)

    def _fault(self, new: RecordSet) -> str:
        if len({record.id for record in new.records}) < len(new.records):
            return "two of its records have the same id"
        return next(filter(None, map(self._wrong, new.records)), "")

    def _wrong(self, record: Record) -> str:
        dimensions = self._store.owner.dimensions if self._store.owner else 0
        if record.vector.shape != (dimensions,) or not np.isfinite(record.vector).all():
            return f"it needs {dimensions} finite numbers"
        if any(isinstance(value, float) and not math.isfinite(value) for value in record.metadata.values()):
            return "its metadata holds a number that is not finite"
        try:
            record.text.encode()
        except UnicodeEncodeError:
            return "its text is no text"
        return ""


class MemoryIndex:
    """A `MemorySink` as it is read."""

    keeps_vectors = True
    is_shared = False

    def __init__(self, store: Store, owner: Owner) -> None:
        self.collection = store.collection_id
        self.log = owner.log
        self._store = store
        self.model = owner.model
        self.dimensions = owner.dimensions

    def search(self, vector: Vector, k: int, where: Filter | None) -> Sequence[Hit]:
        """The `k` nearest by cosine."""
        found = [
            _hit(record_set, record, _cosine(record.vector, vector))
            for record_set in self._store.sets.values()
            for record in record_set.records
            if where is None or matches(where, _fields(record_set, record))
        ]
        return sorted(found, key=lambda hit: (-(hit.score or 0.0), hit.id))[:k]

    def records(self, key: str | None) -> Iterator[Hit]:
        """All records, or those of one document."""
        for record_set in sorted(self._store.sets.values(), key=lambda s: s.key):
            if key in {None, record_set.key}:
                for record in sorted(record_set.records, key=lambda r: r.span or (0, 0)):
                    yield _hit(record_set, record, None)

    def record(self, record_id: str) -> Hit | None:
        """The record of that id."""
        return next((hit for hit in self.records(None) if hit.id == record_id), None)

    def held(self, keys: Collection[str] | None = None) -> Iterator[HeldRecord]:
        """Records with their vectors."""
        for record_set in list(self._store.sets.values()):
            if keys is None or record_set.key in keys:
                for record in record_set.records:
                    yield HeldRecord(_hit(record_set, record, None), record.vector)

    def heads(self, keys: Collection[str] | None = None) -> Iterator[HeldHead]:
        """What each set says of its key."""
        for s in list(self._store.sets.values()):
            if keys is None or s.key in keys:
                ids = {record.id: (record.vector_hash, record.payload_hash) for record in s.records}
                yield HeldHead(s.lane, s.key, s.source, s.version, s.digest, ids)

    def close(self) -> None:
        """Nothing to close."""


class MemoryParams(Params):
    """Parameters of a sink in memory: none."""


def _hit(s: RecordSet, record: Record, score: float | None) -> Hit:
    observed = np.datetime_as_string(np.datetime64(s.observed_at_us, "us")) + "Z"
    lineage = {
        "lane": s.lane,
        "source": s.source,
        "version": s.version,
        "content_hash": record.content_hash,
        "steps": record.steps,
        "model": record.model,
        "run": s.run,
        "observed_at": str(observed) if s.observed_at_us else None,
        "topic": s.topic,
        "partition": s.partition,
    }
    uri, metadata = record.source_uri, dict(record.metadata)
    return Hit(record.id, s.key, uri, record.text, record.span, score, metadata, lineage)


def _fields(s: RecordSet, record: Record) -> dict[str, object]:
    return {"key": s.key, "source_uri": record.source_uri, "metadata": record.metadata}


def _cosine(one: Vector, other: Vector) -> float:
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / lengths if lengths else 0.0


def _open(_params: MemoryParams, _context: Context) -> MemorySink:
    return MemorySink(Store())


DESCRIPTOR = SinkDescriptor(
    name="memory",
    summary="Keeps records in this process, for tests.",
    params=MemoryParams,
    capabilities=CAPABILITIES,
    open=_open,
)
