"""Reading a listed source: what is new, what changed, what went away since the log last heard of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from queue import Empty, SimpleQueue

from nvisy.connector.source import Group, Item, ListingSource, Unreadable
from nvisy.errors import Refused, Rejected
from nvisy.fault_points import Point, reach
from nvisy.primitives.change import Change
from nvisy.primitives.document import Document
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.key_by_key import KeyByKey
from nvisy.runtime.known import KnownKeys
from nvisy.runtime.memory import Values
from nvisy.runtime.poison import verdict
from nvisy.runtime.watchdog import Activity
from nvisy.topics.log import TopicPartition
from nvisy.topics.partitioner import partition_of

BATCH = 500
FOLLOW_WAIT_S = 0.5
MASS_DELETES = ((100, 0.3), (20, 0.5))
"""More than so many keys gone, and more than such a share of all: not believed. Nor is an empty listing."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Listing:
    """What a reader of a listed source has to know.

    Attributes:
        node: Id of the source node.
        partitions: Of the graph's topics.
        topic: The origin topic, or empty where the stage goes straight into a sink.
        inc: Incarnation that changes are stamped with where there is no topic to number them; else None.
        follow: Go on listing after the first pass.
        allow_mass_delete: Believe a listing in which many keys are gone.
        failed_keys: Keys of this source whose dead letter is open.
        forgotten: Keys of documents that are to stay away: they count as not listed, and are not read.
        suspects: What earlier lives of the stage died of, or may have.
        activity: Is told while an item is loaded.
    """

    node: str
    run: str
    graph: str
    partitions: int
    topic: str
    inc: int | None
    follow: bool
    allow_mass_delete: bool
    failed_keys: Callable[[], Sequence[str]]
    forgotten: frozenset[str] = frozenset()
    suspects: KeyByKey | None = None
    activity: Activity = field(default_factory=Activity)


class ListingReader:
    """Lists a source again and again (once, unless it is followed) and yields the changes as flights.

    What it counts as received is every item of the first pass, and of later ones what they found to do.
    """

    def __init__(
        self, source: ListingSource, known: KnownKeys, spec: Listing, counters: NodeCounters
    ) -> None:
        self._source = source
        self._known = known
        self._spec = spec
        self._counters = counters
        self._at = TopicPartition(spec.node, 0)
        self._sequence = 0
        self._committed: SimpleQueue[Sequence[Flight]] = SimpleQueue()
        self._n_committed = 0
        self._failed_before: frozenset[str] = frozenset()
        self._flights = self._passes()
        self._confirms_all = False
        self._found_any = False
        self._is_first_pass = True
        self._n_forgotten = 0
        self._asked_again = threading.Event()
        self._again = False
        self.ended = False
        self.complete = False

    def read(self, *, paused: bool) -> Sequence[Flight]:
        """The next flights of the pass under way."""
        self._note_committed()
        if paused:
            return ()
        batch: list[Flight] = []
        for flight in self._flights:
            if flight is None:
                break
            batch.append(flight)
            if len(batch) == BATCH:
                break
        else:
            self.ended = True
        if batch:
            reach(Point.LISTED)
        return batch

    def state(self, positions: Mapping[TopicPartition, int]) -> Values:
        """Which item is let through alone; what the log holds is all else there is to know."""
        suspects = self._spec.suspects
        return suspects.state(positions.get(self._at, 0)) if suspects is not None else {}

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """Told by the writing thread: these stand in the log, or in the dead letters, now."""
        self._committed.put(flights)
        if self._spec.suspects is not None:
            self._spec.suspects.committed()

    def followed(self, ends: Mapping[int, int]) -> None:
        """Everything up to these offsets of the origin topic is reflected in the file of known keys."""
        self._note_committed()
        self._known.note({}, followed=ends)

    def list_again(self) -> None:
        """Make another pass soon, and in it read anew the groups that something failed in. From any thread."""
        self._asked_again.set()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _note_committed(self) -> None:
        notes: dict[str, bytes | None] = {}
        while True:
            try:
                flights = self._committed.get_nowait()
            except Empty:
                break
            self._n_committed += len(flights)
            for flight in flights:
                if not flight.failure:
                    change = flight.change
                    notes[change.origin.key] = None if change.op == "delete" else change.fingerprint
        if notes:
            reach(Point.KNOWN_NOTE)
            self._known.note(notes)
            reach(Point.KNOWN_NOTED)

    def _passes(self) -> Iterator[Flight | None]:
        while True:
            groups: dict[str, bytes] = {}
            yield from self._pass(groups)
            if self._is_first_pass and self._n_forgotten:
                _log.warning(
                    "source %s: %d documents are passed over, since they were forgotten; `nvisy forget` lists them",
                    self._spec.node,
                    self._n_forgotten,
                )
            self._is_first_pass = False
            # Only when all of it stands in the log is a group known as a whole, and the next listing worth comparing.
            while self._n_committed < self._sequence:
                yield None
                time.sleep(0.002)
                self._note_committed()
            self._known.note({}, groups=groups)
            self.complete = self.complete or self._confirms_all
            if self._spec.suspects is not None:
                self._spec.suspects.over()
            if not self._spec.follow:
                return
            while not (self._source.wait(FOLLOW_WAIT_S) or self._asked_again.is_set()):
                yield None

    def _pass(self, complete: dict[str, bytes]) -> Iterator[Flight | None]:
        """One listing. None stands for a moment in which nothing is to be read; `complete` takes the groups read."""
        self._again = self._asked_again.is_set()
        self._asked_again.clear()
        self._known.begin_pass()
        self._confirms_all = True
        self._failed_before = frozenset(self._spec.failed_keys())
        loose: list[Item] = []
        self._found_any = False
        for entry in self._source.scan():
            self._found_any = True
            match entry:
                case Item():
                    loose.append(entry)
                    if len(loose) == BATCH:
                        yield from self._items(loose)
                        loose = []
                case Group():
                    yield from self._group(entry, complete)
                case Unreadable():
                    yield from self._unreadable(entry)
        yield from self._items(loose)
        if self._deletes_are_held_back():
            self._confirms_all = False
        else:
            # Durably, before the first delete is: a group that comes back has to be read again.
            self._known.forget_unlisted_groups()
            # What failed before and is gone now may never have been known; its delete closes the dead letter.
            failed_and_gone = self._failed_before - self._known.was_seen(self._failed_before)
            for key in self._known.unseen():
                yield self._delete(key)
                failed_and_gone -= {key}
            for key in sorted(failed_and_gone):
                yield self._delete(key)

    def _group(self, group: Group, complete: dict[str, bytes]) -> Iterator[Flight | None]:
        prefix = f"{group.key}#"
        again = self._again and any(key.startswith(prefix) for key in self._failed_before)
        if self._known.group(group.key) == group.fingerprint and not again:
            self._known.spare(prefix)
            return
        self._known.forget_group(group.key)
        whole = True
        members = iter(group.members())
        while batch := list(islice(members, BATCH)):
            broken = [member for member in batch if isinstance(member, Unreadable)]
            whole = whole and not broken
            yield from self._items([member for member in batch if isinstance(member, Item)])
            for member in broken:
                yield from self._unreadable(member)
        if whole:
            complete[group.key] = group.fingerprint
        else:
            self._spare(prefix)

    def _items(self, listed: Sequence[Item]) -> Iterator[Flight | None]:
        items = [item for item in listed if item.key not in self._spec.forgotten]
        self._n_forgotten += len(listed) - len(items)
        answers = self._known.see([item.key for item in items])
        if self._is_first_pass:
            self._counters.received += len(items)
        for item, known in zip(items, answers, strict=True):
            if known.seen:
                twice = (
                    f"the key {item.key!r} occurs twice in one listing; give every document a key of its own"
                )
                yield self._refused(item, Rejected(twice, kind="duplicate_key"))
            elif known.fingerprint != item.fingerprint or item.key in self._failed_before:
                # What is as it was before it failed is sent again too: only its passing closes the dead letter.
                yield from self._carefully(item)

    def _carefully(self, item: Item) -> Iterator[Flight | None]:
        """Load an item, unless it is what the stage died of."""
        suspects = self._spec.suspects
        if suspects is None:
            yield self._load(item)
        elif not suspects.is_poison(item.key, item.fingerprint):
            for _ in suspects.alone(item.key, item.fingerprint, self._sequence):
                yield None
                time.sleep(0.002)
            yield self._load(item)
        elif item.key not in self._failed_before:
            failure = verdict(self._spec.node, suspects.life)
            yield self._refused(item, Rejected(failure.message, kind=failure.kind, retryable=True))

    def _load(self, item: Item) -> Flight:
        origin = self._origin(item.key, item.uri)
        try:
            loaded = self._spec.activity.working(item.load)
        except Rejected as error:
            return self._refused(item, error)
        document = loaded.identified(
            discriminator="", node=self._spec.node, steps="", parent="", provenance=origin
        )
        change = Change(origin, "upsert", (document,), item.fingerprint, self._spec.graph)
        self._counters.emitted += 1
        return self._flight(change, _raw(document))

    def _refused(self, item: Item, error: Rejected) -> Flight:
        return self._failed(item.key, item.uri, error, b"")

    def _unreadable(self, entry: Unreadable) -> Iterator[Flight]:
        if entry.key.endswith(("/", "#")) or not entry.key:
            place = entry.key.rstrip("/#") or "."
            self._spare(entry.key)
            self._known.see([place])
            _log.warning("source %s: a part of it could not be listed: %s", self._spec.node, entry.error)
            yield self._failed(place, entry.uri, entry.error, entry.content)
            return
        if entry.key in self._spec.forgotten:
            self._n_forgotten += 1
            return
        self._known.see([entry.key])
        yield self._failed(entry.key, entry.uri, entry.error, entry.content)

    def _spare(self, prefix: str) -> None:
        """What lies below could not be read: it counts neither as gone nor as confirmed."""
        self._known.spare(prefix)
        self._confirms_all = False

    def _failed(self, key: str, uri: str, error: Rejected, content: bytes) -> Flight:
        self._counters.failed += 1
        flight = self._flight(Change(self._origin(key, uri), graph=self._spec.graph), content)
        return flight.failed(Failure.of(self._spec.node, error))

    def _deletes_are_held_back(self) -> bool:
        count, held = self._known.count_unseen(), len(self._known)
        too_many = any(count > most and count > held * share for most, share in MASS_DELETES)
        is_emptied = count > 1 and not self._found_any  # as a folder is that is not mounted
        if self._spec.allow_mass_delete or not (too_many or is_emptied):
            return False
        message = (
            f"source {self._spec.node}: {count} of {held} documents are gone from the listing; if that is"
            " meant, run again with --allow-mass-delete"
        )
        if not self._spec.follow:
            raise Refused(message)
        _log.warning("deletes are held back: %s", message)
        return True

    def _delete(self, key: str) -> Flight:
        reach(Point.DELETE_FOUND)
        self._counters.emitted += 1
        return self._flight(Change(self._origin(key, ""), "delete", graph=self._spec.graph), b"")

    def _flight(self, change: Change, raw: bytes) -> Flight:
        ticket = Ticket(self._at, self._sequence)
        self._sequence += 1
        if not self._is_first_pass:
            self._counters.received += 1
        return Flight(change, ticket, raw)

    def _origin(self, key: str, uri: str) -> Provenance:
        spec = self._spec
        return Provenance(
            source=spec.node,
            key=key,
            uri=uri,
            version=None if spec.inc is None else Version(spec.inc, self._sequence),
            partition=partition_of(f"{spec.node}/{key}".encode(), spec.partitions),
            observed_at_us=time.time_ns() // 1000,
            run=spec.run,
            topic=spec.topic,
        )


def _raw(document: Primitive) -> bytes:
    """The original bytes of a document, as far as it has any."""
    if isinstance(document, Document):
        return document.content if document.content is not None else document.text.encode()
    return b""
