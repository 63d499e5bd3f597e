"""What a sink is to Nvisy: it holds, for every key, exactly the records of the newest version it was given."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nvisy.errors import Rejected
from nvisy.primitives.primitive import MetadataValue
from nvisy.primitives.provenance import Span

if TYPE_CHECKING:  # a sink that is only written to needs no expressions
    from nvisy.expressions.filter import Filter

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SinkCapabilities:
    """What a sink can do. No field has a default: an author decides each.

    Attributes:
        accepts: Names of the primitives it stores.
        deletes: Whether records can be removed by key. A sink that cannot is refused when a graph is compiled.
        guarantee: `transactional` (records, deletes and head commit together), `conditional` (older writes lose),
            `filtered` (deletes by filter, no conditions), `eventual`.
        max_batch_records: Records per call of `apply`, at most.
        max_batch_bytes: Bytes of vectors and text per call, at most.
        max_dimensions: The longest vector it can store, or None.
        metadata: Value types of metadata it can store and filter by.
        generations: Whether a collection can have several, one of which readers see: see `Sink`.
    """

    accepts: frozenset[str]
    deletes: bool
    guarantee: Literal["transactional", "conditional", "filtered", "eventual"]
    max_batch_records: int
    max_batch_bytes: int
    max_dimensions: int | None
    metadata: frozenset[str]
    generations: bool


@dataclass(frozen=True, slots=True)
class Record:
    """One vector as an index holds it. The layout that applications see is `docs/index-layout.md`.

    Attributes:
        id: UUID, from lane, key, node and content: the same again in a second run.
        vector: float32, shape (dimensions,).
        text: The passage that was embedded.
        source_uri: Where a person finds the document.
        span: Place of `text` in the extracted text of the document, or None.
        metadata: The user's fields.
        vector_hash: Changes when, and only when, the vector does.
        payload_hash: Changes when text, span, uri, metadata or steps do.
        content_hash: Hash of the text that was embedded.
        steps: Every node it went through, with its configuration.
        model: Model and revision that made the vector.
    """

    id: str
    vector: Vector
    text: str
    source_uri: str
    span: Span | None
    metadata: Mapping[str, MetadataValue]
    vector_hash: str
    payload_hash: str
    content_hash: str
    steps: str
    model: str


@dataclass(frozen=True, slots=True)
class RecordSet:
    """Everything that one version of one key says about one sink: the sink's unit of work.

    Attributes:
        lane: The (graph, sink, source) that owns the key: part of every id, filter and head.
        key: The document's key.
        source: Id of the source node.
        version: `Version.number`: the higher one is newer.
        digest: Hash over all records. Equal digests: nothing to write but the version.
        records: All of them. Empty: the key has been deleted, or nothing of it belongs in this sink.
        partition: Partition of the log that the key lives in.
        run: Run that wrote it.
        observed_at_us: When the source saw this version, microseconds, UTC.
        topic: Origin topic of the version, or empty.
    """

    lane: str
    key: str
    source: str
    version: int
    digest: str
    records: tuple[Record, ...]
    partition: int = 0
    run: str = ""
    observed_at_us: int = 0
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record set.

    Attributes:
        written: Vectors upserted.
        removed: Records taken out.
        unchanged: Records left as they are, or of which only place or metadata were rewritten.
        superseded: The sink holds a newer version of the key, so nothing was done.
        fault: The set was rejected, and the key's former version stays.
    """

    written: int = 0
    removed: int = 0
    unchanged: int = 0
    superseded: bool = False
    fault: Rejected | None = None


@dataclass(frozen=True, slots=True)
class Owner:
    """Who writes into a collection; kept in its marker, so that two graphs or logs never mix in one.

    Attributes:
        graph: The graph's id.
        log: Id of the log that the graph's topics live in.
        model: Model and revision of the vectors.
        dimensions: Length of the vectors.
    """

    graph: str
    log: str
    model: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One record as a search or a listing gives it back. `score` is higher for nearer vectors, None in a listing."""

    id: str
    key: str
    source_uri: str
    text: str
    span: Span | None
    score: float | None = None
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    lineage: Mapping[str, Any] = field(default_factory=dict)
    """Nvisy's own fields, each None where the record has none: `lane`, `source`, `version`, `content_hash`, `steps`,
    `model`, `run`, `observed_at`, `topic`, `partition`."""


@dataclass(frozen=True, slots=True)
class HeldRecord:
    """A record as a collection holds it: what a listing gives of it, and its vector, None where it has none."""

    hit: Hit
    vector: Vector | None


@dataclass(frozen=True, slots=True)
class HeldHead:
    """What a collection remembers of a key.

    Attributes:
        version: The highest that was applied, a delete's too.
        digest: Of the record set of that version.
        ids: By the id of each of its records: vector hash and payload hash.
    """

    lane: str
    key: str
    source: str
    version: int
    digest: str
    ids: Mapping[str, tuple[str, str]]


class Writer(Protocol):
    """An open sink."""

    def apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Make the sink hold these sets, one outcome each, in order; durable when it returns.

        At most one set per (lane, key). A set older than what the sink holds is superseded, never applied.
        A set that the sink cannot store is an `Outcome.fault` while the others are applied.
        A set that is applied moves the head of its key to its version: also one without records, and one that
        changes nothing.

        Raises:
            Transient: Nothing, or an unknown part, was applied; the same call may be made again.
            Refused: Another owner has taken over (its token is higher, or it adopted the collection).
            Fatal: No call can succeed: the collection is gone, has other dimensions, the disk is full.
        """

    def rewrite(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """Make the sink hold these sets whatever it holds of their keys now, and whatever their heads say.

        Every record is written whole, what else the key has goes, and the head is put anew, also with a lower version.
        It mends an index, and is for an owner beside whom nobody writes. Takes, gives and raises what `apply` does.
        """

    def remove(self, ids: Collection[str]) -> int:
        """Take out the records with these ids, whosever they are, and nothing else; returns how many there were.

        It mends an index, as `rewrite` does. Raises what `apply` does.
        """

    def head(self, lane: str, key: str) -> int | None:
        """Version of the head of this key: the highest that was applied, a delete's too. None: there is no head.

        Raises:
            Transient: The same call may succeed later.
            Fatal: The collection is gone.
        """

    def lanes(self) -> Collection[str]:
        """Every lane that has a head or a record in the collection, each once. Raises as `head` does."""

    def sweep(self, lane: str, below: int) -> int:
        """Forget the keys of a lane that nothing has confirmed since version `below`; returns how many records went.

        Whose head is lower loses its records and its head, a remembered delete too: what is applied to such a key
        later, of whatever version, is as for a new one. A record whose key has no head goes if its own version is
        lower. Nothing that was written at `below` or above is removed, whoever wrote it.

        It goes through the keys some hundreds at a time and holds up no other writer for longer than that. Cut off
        in the middle it leaves nothing half done that a repeat, or an `apply` to the key, would take for whole.
        Only a sink that is `transactional` keeps it apart from an `apply` to the same lane: for the others, the
        caller lets none run meanwhile.

        Raises:
            Transient: Some keys, or none, were swept; the same call may be made again.
            Refused: Another owner has taken over, as for `apply`.
            Fatal: No call can succeed, as for `apply`.
        """

    def settle(self) -> None:
        """The sink has caught up with its input: build what is cheaper built at once, such as a vector index.

        The runtime calls it whenever the input has run dry, also when nothing was written since the last time, so it
        returns at once where there is nothing to do. It may take minutes and holds up no other writer.

        Raises:
            Transient: It may succeed when called again; the sink is complete without it, only slower to search.
        """

    def close(self) -> None:
        """Let go of everything; writes nothing. May be called twice."""


@runtime_checkable
class Scrubs(Protocol):
    """A writer that can see to it that nothing is left in its store's files of what was deleted. No writer has to."""

    def scrub(self) -> str:
        """Write what keeps the collection anew, without what was deleted from it, as far as a client may ask for that.

        Returns:
            What may still be left in the store, and when it goes, in a sentence; empty where nothing is.

        Raises:
            Transient: The same call may succeed later.
            Fatal: No call can.
        """


class Index(Protocol):
    """A collection as applications read it. Needs no log and no run."""

    model: str
    """Model and revision recorded in the collection's marker: the one that has to embed the questions."""
    dimensions: int
    collection: str
    """The collection's own id, as `Sink.prepare` returned it."""
    log: str
    """Id of the log that the collection is written from."""
    keeps_vectors: bool
    """It gives a vector back as it was written, to the last bit; else it may have brought it to length 1."""
    is_shared: bool
    """It is a user's own collection, and may hold records that Nvisy did not write."""

    def search(self, vector: Vector, k: int, where: Filter | None) -> Sequence[Hit]:
        """The `k` nearest records, best first, any `k`; with `where`, of those that match it, exactly."""

    def records(self, key: str | None) -> Iterator[Hit]:
        """All records, or those of one document: streamed, by key, then by place."""

    def record(self, record_id: str) -> Hit | None:
        """The record of that id, or None; an id that no record can have has none."""

    def held(self, keys: Collection[str] | None = None) -> Iterator[HeldRecord]:
        """All records with their vectors, or those of these documents: streamed in pages, in any order.

        Other processes may write meanwhile: a record that is there all the time is given, the others may be.
        """

    def heads(self, keys: Collection[str] | None = None) -> Iterator[HeldHead]:
        """The heads of all keys, of whatever lane, or of these keys: streamed as `held` streams."""

    def close(self) -> None:
        """Let go of everything. May be called twice."""


class Sink(Protocol):
    """A generation of a collection in a vector store: the first one, unless it was opened for another.

    Readers know the collection by its name, and see one generation of it under that: the first that was prepared, and
    another from when that one is told to `serve`. So an index is made anew beside the one that is asked.
    """

    capabilities: SinkCapabilities

    def check(self) -> None:
        """Prove reach, credentials and rights, or raise `Unreachable` or `Fatal`. Writes nothing."""

    def prepare(self, owner: Owner, *, adopt: bool = False) -> str:
        """Create the collection, its heads and its marker, or verify them. Returns the collection's own id.

        Readers see it at once where they see no other generation, and else not before it serves. The id is made when
        the collection is created: another id than last time means that what was written is gone, and the caller starts
        over. Idempotent.

        Args:
            owner: Who is going to write.
            adopt: Whether a collection of this graph that was written from another log becomes this log's. Its
                records, heads and id stay. Tokens of two logs cannot be compared: it can be opened with any token
                again, and writers who opened it for the former log are refused.

        Raises:
            Refused: The collection belongs to another graph, or to another log and `adopt` is false, or is not ours
                and `create` is false without one.
            Fatal: It holds vectors of other dimensions or of another model.
        """

    def open(self, token: int) -> Writer:
        """Start writing as the owner with this fence token: writers with a lower one are refused from here on."""

    def index(self, *, own: bool = False) -> Index:
        """Open the generation that readers see for reading, or with `own` this one, be it seen or not.

        What was opened stays the same generation, whichever serves meanwhile. Raises `Refused` where there is none
        yet, `Unreachable`, `Fatal`.
        """

    def current(self) -> int | None:
        """Number of the generation that readers see; None where there is none yet. Writes nothing.

        Raises:
            Refused: Readers ask the collection itself, which is a user's own: it can have no generations.
            Unreachable, Fatal: As `check`.
        """

    def serve(self, token: int) -> None:
        """Show readers this generation instead of the one that they see, from one moment to the next.

        Nobody finds the name without a collection behind it, or half of each. Done twice it does nothing. Whoever
        opened any generation with a lower token can write no more.

        Raises:
            Refused: A generation was opened with a higher token; this one was never prepared; or as `current`.
            Transient: Readers see one generation or the other; the same call may be made again.
            Fatal: The store does not let us; readers see what they saw.
        """

    def drop(self, token: int) -> None:
        """Remove this generation for good. One that is not there is fine.

        Raises:
            Refused: Readers see it; or a generation was opened with a higher token; or as `current`.
            Transient: The same call may be made again.
        """
