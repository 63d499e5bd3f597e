"""Whether an index holds of a key what it has to hold, and what is wrong where it does not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, Self

import orjson

from nvisy.audit.expected import Expected
from nvisy.audit.fingerprints import Fingerprint, ids_hash, of_held, payload_hash_of
from nvisy.connector.sink import HeldHead, HeldRecord
from nvisy.primitives.provenance import Version

Kind = Literal["missing", "extra", "stale", "damaged"]
"""Of a record: it is not there; it should not be; it is of another version; it is not as it was written."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One record of an index that is not as the log says, or what the index remembers of a key (`id` is then empty).

    Attributes:
        sink: The sink node.
        source: The source node; empty where the record is of none of the graph's.
        why: What differs, in words.
        version: What the log says, `(incarnation, offset)`; None where the log has no such key, or was not asked.
        held: The version that the index holds the key at, or None.
    """

    kind: Kind
    id: str
    key: str
    sink: str
    source: str
    why: str
    version: Version | None = None
    held: Version | None = None

    def as_json(self) -> dict[str, Any]:
        """What `nvisy verify --json` prints of it."""
        version, held = (list(one) if one is not None else None for one in (self.version, self.held))
        return {**asdict(self), "version": version, "held": held}


class HeldFingerprint(NamedTuple):
    """A record as the index holds it: its own version, what is compared, and hashes to hold against its head."""

    id: str
    version: int
    fingerprint: Fingerprint
    payload_hash: str

    @classmethod
    def of(cls, held: HeldRecord, *, keeps_vectors: bool, with_payload: bool) -> Self:
        """Of a record."""
        fingerprint = of_held(held, keeps_vectors=keeps_vectors)
        payload = payload_hash_of(held) if with_payload else ""
        return cls(held.hit.id, held.hit.lineage["version"] or 0, fingerprint, payload)

    def pack(self) -> bytes:
        """To be kept on disk."""
        return orjson.dumps((self.id, self.version, tuple(self.fingerprint), self.payload_hash))

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """What `pack` wrote."""
        name, version, fingerprint, payload = orjson.loads(value)
        return cls(name, version, Fingerprint(*fingerprint), payload)


class Head(NamedTuple):
    """What an index remembers of a key: `ids` is a hash of all that `records` says, which is kept where needed."""

    version: int
    digest: str
    ids: int
    records: Mapping[str, tuple[str, str]] | None
    is_empty: bool

    @classmethod
    def of(cls, held: HeldHead, *, with_records: bool) -> Self:
        """Of a head."""
        records = dict(held.ids) if with_records else None
        return cls(held.version, held.digest, ids_hash(held.ids), records, not held.ids)

    def pack(self) -> bytes:
        """To be kept on disk."""
        return orjson.dumps(tuple(self))

    @classmethod
    def unpack(cls, value: bytes) -> Self:
        """What `pack` wrote."""
        return cls(*orjson.loads(value))


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the keys of one sink.

    Attributes:
        keeps_vectors: The store gives vectors back as they were written.
        is_conditional: Every record bears the version of its head; else that of the change that wrote it last.
    """

    sink: str
    keeps_vectors: bool
    is_conditional: bool

    def of_none(self, key: str, records: Collection[HeldFingerprint]) -> Iterator[Drift]:
        """Records of a key that is of none of the graph's sources."""
        for record in records:
            yield self._drift("extra", record, key, "", "it is of no source of the graph")

    def without_log(
        self, key: str, source: str, head: Head | None, records: Mapping[str, HeldFingerprint]
    ) -> Iterator[Drift]:
        """What of a key contradicts its own head: all there is to see where the log says nothing of it."""
        found = Version.of(head.version) if head else None
        said: Mapping[str, Any] = head.records or {} if head else {}
        for name in sorted(said.keys() - records.keys()):
            yield self._missing(name, key, source, None, found)
        for name, record in records.items():
            if name not in said:
                why = "its head does not name it" if head else "the index remembers nothing of its key"
                yield self._drift("extra", record, key, source, why, None, found)
                continue
            assert head is not None
            vector, payload = said[name]
            wrong = self.keeps_vectors and record.fingerprint.vector != vector
            if wrong or (record.payload_hash and record.payload_hash != payload):
                what = "the vector" if wrong else "the text, its place, its metadata or its configuration"
                why = f"{what} is not what its head says"
                yield self._drift("damaged", record, key, source, why, None, found)
            else:
                yield from self._version(record, key, source, head, None)

    def unknown_to_log(
        self, key: str, source: str, head: Head | None, records: Mapping[str, HeldFingerprint]
    ) -> Iterator[Drift]:
        """A key that the log does not have."""
        found = Version.of(head.version) if head else None
        for record in records.values():
            yield self._drift("extra", record, key, source, "the log has no such document", None, found)
        if head is not None and not head.is_empty and not records:
            why = "its head names records; the log has no such document"
            yield Drift("damaged", "", key, self.sink, source, why, None, found)

    def by_log(
        self,
        key: str,
        source: str,
        expected: Expected,
        head: Head | None,
        records: Mapping[str, HeldFingerprint],
    ) -> Iterator[Drift]:
        """A key that the log has, and whose records are known."""
        assert expected.records is not None
        wrong = list(self._records(key, source, expected, head, records))
        version, found = Version.of(expected.version), Version.of(head.version) if head else None
        if head is not None and head.version < expected.version and (wrong or not head.is_empty):
            for one in wrong:
                why = f"the index holds the document at an older version; {one.why}"
                yield replace(one, kind="stale", why=why)
            if not wrong:
                why = "the index remembers an older version of the document"
                yield Drift("stale", "", key, self.sink, source, why, version, found)
            return
        yield from wrong
        why = self._head(expected, head)
        if why and (head is not None or records):
            yield Drift("damaged", "", key, self.sink, source, why, version, found)

    def by_version(
        self,
        key: str,
        source: str,
        expected: Expected,
        head: Head | None,
        records: Mapping[str, HeldFingerprint],
    ) -> Iterator[Drift]:
        """A key that the log has, and whose records are not known: its version is, and its head says the rest."""
        version = Version.of(expected.version)
        if head is None:
            why = "the index remembers nothing of its key"
            yield Drift("missing", "", key, self.sink, source, why, version, None)
            return
        found = Version.of(head.version)
        if head.version != expected.version:
            kind: Kind = "stale" if head.version < expected.version else "damaged"
            why = "the index remembers another version of the document"
            yield Drift(kind, "", key, self.sink, source, why, version, found)
            return
        for one in self.without_log(key, source, head, records):
            yield replace(one, version=version)

    def _records(
        self,
        key: str,
        source: str,
        expected: Expected,
        head: Head | None,
        records: Mapping[str, HeldFingerprint],
    ) -> Iterator[Drift]:
        wanted = expected.records or {}
        version, found = Version.of(expected.version), Version.of(head.version) if head else None
        for name in wanted:
            if name not in records:
                yield self._missing(name, key, source, version, found)
        for name, record in records.items():
            if name not in wanted:
                why = "the document is deleted" if not wanted else "the document has no such passage"
                yield self._drift("extra", record, key, source, why, version, found)
                continue
            wrong = wanted[name].differs(record.fingerprint, keeps_vectors=self.keeps_vectors)
            if wrong:
                why = f"not as it was written: {', '.join(wrong)}"
                yield self._drift("damaged", record, key, source, why, version, found)
            elif head is not None and head.version == expected.version:
                yield from self._version(record, key, source, head, version)

    def _head(self, expected: Expected, head: Head | None) -> str:
        """What is wrong with the head of a key whose version is not too low, or nothing."""
        if head is None:
            return "the index remembers nothing of its key" if expected.records else ""
        if not expected.records and head.is_empty:
            return ""
        if head.version > expected.version:
            return "the index remembers a version that the log does not have"
        if head.ids != expected.ids:
            return "its head has other hashes than its records were written with"
        return "its head has another digest" if head.digest != expected.digest else ""

    def _version(
        self, record: HeldFingerprint, key: str, source: str, head: Head, version: Version | None
    ) -> Iterator[Drift]:
        is_off = record.version > head.version or (self.is_conditional and record.version != head.version)
        if is_off:
            said = Version.of(record.version)
            why = f"it bears the version {said.inc}/{said.off}"
            yield self._drift("stale", record, key, source, why, version, Version.of(head.version))

    def _missing(
        self, name: str, key: str, source: str, version: Version | None, held: Version | None
    ) -> Drift:
        return Drift("missing", name, key, self.sink, source, "it is not in the index", version, held)

    def _drift(
        self,
        kind: Kind,
        record: HeldFingerprint,
        key: str,
        source: str,
        why: str,
        version: Version | None = None,
        held: Version | None = None,
    ) -> Drift:
        return Drift(kind, record.id, key, self.sink, source, why, version, held)
