"""Writes record sets into Qdrant, which has no transactions: every call loses against what is newer.

An upsert, a payload and a delete carry the condition that what they touch is older, and the head comes last. So a
writer that was taken over, and wakes up in the middle of a batch, removes and overwrites nothing that a newer one
wrote; what it may leave behind are records that should be gone, and its successor looks for those.

A head says what its records are only as far as nobody began with a newer version and died before the head. So a record
that is kept is touched only if it is no newer than the head; one that is, or is gone, shows, and its key is written
whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
from qdrant_client import QdrantClient, models

from nvisy.connector.sink import Outcome, Record, RecordSet
from nvisy.errors import Rejected, Transient
from nvisy.fault_points import Point, reach
from nvisy.primitives.primitive import derive_id
from nvisy_vector import _qdrant_server as server
from nvisy_vector import _qdrant_sweep as sweeping
from nvisy_vector._layout import encode_ids, heads_name, observed_at
from nvisy_vector._owner import Marker, adopted, fenced, gone
from nvisy_vector._plan import Head, Key, Step, plan, plan_anew
from nvisy_vector._qdrant_leftovers import Leftovers
from nvisy_vector._screen import fault_in, key_fault, narrowed, storable


class QdrantWriter:
    """An open collection."""

    def __init__(self, client: QdrantClient, marker: Marker, token: int, place: str, where: str) -> None:
        self._client = client
        self._physical = marker.physical
        self._heads = heads_name(marker.physical)
        self._collection_id = marker.collection_id
        self._log = marker.owner.log
        self._dimensions = marker.owner.dimensions
        self._token = token
        self._place = place
        self._where = where
        with server.translated(place, where):
            server.take_over(client, marker, token)
            self._check_fence()
        self._leftovers: Leftovers | None = None
        if 0 < marker.token < token:  # somebody wrote before
            self._leftovers = Leftovers(client, self._physical, self._send, self._guarded)
        reach(Point.SINK_OPENED)

    def apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Make the collection hold these sets: see `nvisy.connector.sink.Writer`."""
        return narrowed(sets, self._apply)

    def rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Write these sets whole: see `nvisy.connector.sink.Writer`."""
        return narrowed(sets, self._rewrite)

    def remove(self, ids: Collection[str]) -> int:
        """Take out records by their ids: see `nvisy.connector.sink.Writer`."""
        with self._guarded():
            found = [
                point.id for point in self._client.retrieve(self._physical, list(ids), with_payload=False)
            ]
            these = models.Filter(must=[models.HasIdCondition(has_id=found)])
            delete = models.DeleteOperation(delete=models.FilterSelector(filter=these))
            self._send(self._physical, [delete] if found else [])
        return len(found)

    def head(self, lane: str, key: str) -> int | None:
        """Version of the head of this key: see `nvisy.connector.sink.Writer`."""
        if not storable(key, nul=True):
            return None
        with server.translated(self._place, self._where, lost=Transient):
            found = self._client.retrieve(self._heads, [head_id(lane, key)], with_payload=["version"])
        return (found[0].payload or {})["version"] if found else None

    def lanes(self) -> Collection[str]:
        """Every lane that has a head or a record: see `nvisy.connector.sink.Writer`."""
        with server.translated(self._place, self._where, lost=Transient):
            return sweeping.lanes(self._client, self._physical)

    def sweep(self, lane: str, below: int) -> int:
        """Forget what nothing has confirmed since a version: see `nvisy.connector.sink.Writer`."""
        with server.translated(self._place, self._where, lost=Transient):
            return sweeping.sweep(self._client, self._physical, lane, below, self._check_fence, self._send)

    def scrub(self) -> str:
        """Nothing that a client may ask for: see `nvisy.connector.sink.Scrubs`."""
        return (
            "Qdrant gives out nothing of it any more; its files may hold it until its optimizer writes segments anew"
            " (deleted_threshold, vacuum_min_vector_number), and snapshots for as long as they are kept"
        )

    def settle(self) -> None:
        """Nothing to build: Qdrant's optimizer works by itself."""

    def close(self) -> None:
        """Close the connections."""
        if self._leftovers is not None:
            self._leftovers.close()
        self._client.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """While we are the owner, and with errors in words."""
        with server.translated(self._place, self._where, lost=Transient):
            self._check_fence()
            yield

    def _apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        with self._guarded():
            steps = plan(sets, self._read_heads(sets), self._fault)
            reach(Point.SINK_PLANNED)
            self._send(self._physical, [operation for step in steps for operation in self._records(step)])
            steps = self._whole_where_torn(steps)
            reach(Point.SINK_RECORDS)
            self._send(self._heads, [self._head(step.record_set) for step in steps if step.stale_head])
            reach(Point.SINK_HEADS)
        if self._leftovers is not None:
            self._leftovers.note(head_id(*step.key) for step in steps if step.state != "faulty")
        return [step.outcome(_removed(step)) for step in steps]

    def _rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        with self._guarded():
            steps = plan_anew(sets, self._fault)
            whole = [step for step in steps if step.state == "changed"]
            self._send(self._physical, [each for step in whole for each in self._records(step, anew=True)])
            self._send(self._heads, [self._head(step.record_set, anew=True) for step in whole])
        return [step.outcome() for step in steps]

    def _check_fence(self) -> None:
        marker = server.marker_of(self._client, self._physical)
        if marker is None or marker.collection_id != self._collection_id:
            raise gone(self._where)
        if marker.owner.log != self._log:
            raise adopted(self._where, marker.owner.log)
        if marker.token > self._token:
            raise fenced(self._where, self._token, marker.token)

    def _read_heads(self, sets: Sequence[RecordSet]) -> dict[Key, Head]:
        ids = [head_id(s.lane, s.key) for s in sets if key_fault(s, nul=True) is None]
        found = [point.payload or {} for point in self._client.retrieve(self._heads, ids)] if ids else []
        return {(p["lane"], p["key"]): Head(p["version"], p["digest"], p["ids"]) for p in found}

    def _fault(self, record_set: RecordSet, records: Sequence[Record]) -> Rejected | None:
        return key_fault(record_set, nul=True) or fault_in(record_set, records, self._dimensions, nul=True)

    def _send(self, collection: str, operations: Sequence[models.UpdateOperation]) -> None:
        """All in one call, in this order, done when it returns, on every replica."""
        if operations:
            strong = models.WriteOrdering.STRONG
            self._client.batch_update_points(collection, operations, wait=True, ordering=strong)

    def _records(self, step: Step, *, anew: bool = False) -> Iterable[models.UpdateOperation]:
        """What makes the records of a step; `anew`: whatever is there, newer or not."""
        if not step.stale_head:
            return
        s = step.record_set
        older = None if anew else self._older(s)
        described = None if step.head is None else _described(step.head, older)
        if step.vectors:
            points = [
                models.PointStruct(id=r.id, vector=r.vector.tolist(), payload=self._payload(s, r))
                for r in step.vectors
            ]
            yield models.UpsertOperation(upsert=models.PointsList(points=points, update_filter=older))
        for record in step.payloads:
            yield _set_payload([record.id], self._payload(s, record), described)
        kept = _kept(step) - {record.id for record in step.payloads}
        if kept:  # their version too, or a delete by somebody between the versions would take them
            yield _set_payload(sorted(kept), {"version": s.version, "token": self._token}, described)
        yield models.DeleteOperation(delete=models.FilterSelector(filter=_others(s, older)))

    def _whole_where_torn(self, steps: Sequence[Step]) -> list[Step]:
        """Write the keys whole whose kept records are not what their head says."""
        ids = [each for step in steps if step.stale_head for each in _kept(step)]
        points = self._client.retrieve(self._physical, ids, with_payload=["version"]) if ids else []
        versions = {str(point.id): (point.payload or {})["version"] for point in points}
        torn = {
            step.key: step.whole()
            for step in steps
            if step.stale_head
            and any(versions.get(each, 0) < step.record_set.version for each in _kept(step))
        }
        if torn:
            self._check_fence()
            self._send(self._physical, [each for step in torn.values() for each in self._records(step)])
        return [torn.get(step.key, step) for step in steps]

    def _older(self, s: RecordSet) -> models.Filter:
        """What this writer may touch on behalf of a set."""
        lower = models.FieldCondition(key="version", range=models.Range(lt=s.version))
        equal = models.FieldCondition(key="version", range=models.Range(gte=s.version, lte=s.version))
        ours = models.FieldCondition(key="token", range=models.Range(lte=self._token))
        return models.Filter(should=[lower, models.Filter(must=[equal, ours])])

    def _payload(self, s: RecordSet, record: Record) -> dict[str, Any]:
        start, end = record.span if record.span else (None, None)
        return {
            "text": record.text,
            "key": s.key,
            "source_uri": record.source_uri,
            "span_start": start,
            "span_end": end,
            "metadata": dict(record.metadata),
            "metadata_fields": [name for name, value in record.metadata.items() if value is not None],
            "lane": s.lane,
            "source": s.source,
            "version": s.version,
            "token": self._token,
            "content_hash": record.content_hash,
            "steps": record.steps,
            "model": record.model,
            "run": s.run,
            "observed_at": observed_at(s),
            "topic": s.topic,
            "partition": s.partition,
        }

    def _head(self, s: RecordSet, *, anew: bool = False) -> models.UpdateOperation:
        payload = {
            "lane": s.lane,
            "key": s.key,
            "source": s.source,
            "version": s.version,
            "token": self._token,
            "digest": s.digest,
            "ids": encode_ids(s),
            "partition": s.partition,
            "observed_at": observed_at(s),
        }
        point = models.PointStruct(id=head_id(s.lane, s.key), vector=[1.0], payload=payload)
        older = None if anew else self._older(s)
        return models.UpsertOperation(upsert=models.PointsList(points=[point], update_filter=older))


def head_id(lane: str, key: str) -> str:
    """Id of the point that is the head of a key."""
    return derive_id("head", lane, key)


def _kept(step: Step) -> set[str]:
    """Records of a step whose vector is in the store, if its head is right."""
    return {record.id for record in step.record_set.records} - {record.id for record in step.vectors}


def _described(head: Head, older: models.Filter | None) -> models.Filter:
    """Records that are what the head says, and that may be touched."""
    known = models.FieldCondition(key="version", range=models.Range(lte=head.version))
    return models.Filter(must=[known, older] if older else [known])


def _others(s: RecordSet, older: models.Filter | None) -> models.Filter:
    """Whatever else the key has."""
    lane = models.FieldCondition(key="lane", match=models.MatchValue(value=s.lane))
    key = models.FieldCondition(key="key", match=models.MatchValue(value=s.key))
    kept = models.HasIdCondition(has_id=[record.id for record in s.records])
    return models.Filter(must=[lane, key, older] if older else [lane, key], must_not=[kept])


def _set_payload(
    ids: Sequence[str], payload: dict[str, Any], older: models.Filter | None
) -> models.SetPayloadOperation:
    these = models.HasIdCondition(has_id=list(ids))
    which = models.Filter(must=[these, older] if older else [these])
    return models.SetPayloadOperation(set_payload=models.SetPayload(payload=payload, filter=which))


def _removed(step: Step) -> int:
    if step.state != "changed" or step.head is None:
        return 0
    return len(orjson.loads(step.head.ids).keys() - {record.id for record in step.record_set.records})
