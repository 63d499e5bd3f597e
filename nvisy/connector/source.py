"""What a source is to Nvisy: a listing of what there is now, or a stream of what changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from nvisy.errors import Rejected
from nvisy.primitives.primitive import Primitive


@dataclass(frozen=True, slots=True)
class SourceCapabilities:
    """What a source can do. No field has a default: an author decides each.

    Attributes:
        emits: Names of the primitives it yields.
        raw: Its Documents may hold bytes that need an `extract`.
        deletes: Whether a key that went away is noticed.
        bounded: Whether a pass over it ends by itself.
        resume: `listing` re-lists and compares, `position` continues where it stopped.
    """

    emits: frozenset[str]
    raw: bool
    deletes: bool
    bounded: bool
    resume: Literal["listing", "position"]


@dataclass(frozen=True, slots=True)
class Item:
    """One document that a listing found.

    Attributes:
        key: What the source calls it; unique within the source.
        fingerprint: Equal when, and only when, the document may be taken as unchanged. It is compared before `load`
            is called, so it must be cheaper than loading.
        load: Reads the document. May raise `Rejected` (dead letter; the version that is indexed stays).
        uri: Where a person finds it.
    """

    key: str
    fingerprint: bytes
    load: Callable[[], Primitive]
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """A container of items, such as a file of records, that is skipped as a whole while its fingerprint stays.

    Attributes:
        key: Its name; the keys of its members start with `key + "#"`.
        members: Yields its items, streamed. A member that is gone from it is a delete, unless reading it failed.
    """

    key: str
    fingerprint: bytes
    members: Callable[[], Iterator[Item | Unreadable]]
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that could not be read: nothing known under `key` counts as deleted because of it.

    Attributes:
        key: The document's key, or a prefix that ends in `/` or `#` for everything below it.
        error: Why; becomes the dead letter of a document. For a prefix it is only reported, and tried again.
        content: The original bytes, as far as they could be had.
    """

    key: str
    error: Rejected
    uri: str = ""
    content: bytes = b""


Entry = Item | Group | Unreadable


@runtime_checkable
class ListingSource(Protocol):
    """A source that says what there is. The runtime finds out what is new, what changed and what went away."""

    capabilities: SourceCapabilities

    def check(self) -> None:
        """Prove that it can be reached and read, or raise `Unreachable` or `Fatal`. Writes nothing."""

    def scan(self) -> Iterator[Entry]:
        """Yield everything there is now, in any order. An exception ends the pass, and nothing counts as deleted."""

    def wait(self, timeout_s: float) -> bool:
        """Between passes: return True as soon as something may have changed, False after `timeout_s` seconds."""

    def close(self) -> None:
        """Let go of everything. May be called twice."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change that a stream reports, in the order in which it happened to its key.

    Attributes:
        key: What the source calls the document; of a `clear`, what the keys that are gone begin with.
        op: `clear` stands for a delete of every key that begins with `key`: a table was emptied.
        item: Only of an upsert.
    """

    key: str
    op: Literal["upsert", "delete", "clear"]
    item: Primitive | None = None
    uri: str = ""
    observed_at_us: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Some events and the position after the last of them.

    Attributes:
        position: JSON; given to `open` it continues with the first event after this batch.
        end: A bounded stream has nothing more.
        complete: With this batch, everything has been reported that existed when the stream was opened without a
            position: what an earlier stream reported and this one did not is gone from the source.
    """

    events: Sequence[Event]
    position: Any
    end: bool = False
    complete: bool = False


class StreamReader(Protocol):
    """An open stream."""

    def read(self, limit: int, timeout_s: float) -> Batch:
        """At most `limit` events; empty when none came within `timeout_s` seconds."""

    def confirm(self, position: Any) -> None:
        """Everything up to `position` is durable in the log: the source may forget it."""

    def close(self) -> None:
        """Let go of everything. May be called twice."""


@runtime_checkable
class StreamSource(Protocol):
    """A source that says what happens, from a position on."""

    capabilities: SourceCapabilities

    def check(self) -> None:
        """Prove that it can be reached and read, or raise `Unreachable` or `Fatal`. Writes nothing."""

    def open(self, position: Any | None) -> StreamReader:
        """Start after `position`, or at the beginning with None."""


Source = ListingSource | StreamSource
