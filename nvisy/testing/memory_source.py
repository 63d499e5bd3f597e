"""Sources whose contents are in memory and scripted by a test: what a listing and a stream have to do, in few lines."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from nvisy.connector.source import (
    Batch,
    Entry,
    Event,
    Group,
    Item,
    ListingSource,
    SourceCapabilities,
    StreamReader,
    StreamSource,
    Unreadable,
)
from nvisy.errors import Rejected, Transient, Unreachable
from nvisy.primitives.document import Document

LISTING = SourceCapabilities(
    emits=frozenset({"Document"}), raw=False, deletes=True, bounded=True, resume="listing"
)
STREAM = SourceCapabilities(
    emits=frozenset({"Document"}), raw=False, deletes=True, bounded=False, resume="position"
)
BOUNDED_STREAM = SourceCapabilities(
    emits=frozenset({"Document"}), raw=False, deletes=True, bounded=True, resume="position"
)


@dataclass
class MemoryFolder:
    """What a `MemoryListing` lists: texts by key. A key `group#member` is listed as a member of its group.

    Attributes:
        unreadable: What is listed as `Unreadable`: keys, or prefixes: ending in `/` or `#`, or empty.
        refused: Keys whose `load` raises `Rejected`.
        twice: Keys that are listed twice.
        breaks_after: The listing fails after so many entries.
        gone: Nothing can be reached at all.
        loaded: Keys in the order in which they were loaded.
    """

    texts: dict[str, str] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    breaks_after: int | None = None
    gone: bool = False
    loaded: list[str] = field(default_factory=list)

    def open(self) -> ListingSource:
        """A source over it."""
        return MemoryListing(self)

    def put(self, name: str, text: str) -> None:
        """Create or replace a document; it can be read."""
        self.texts[name] = text
        self.unreadable.discard(name)

    def remove(self, name: str) -> None:
        """Take a document out."""
        del self.texts[name]

    def spoil(self, name: str) -> None:
        """Make a document unreadable."""
        self.unreadable.add(name)

    def spoil_part(self, part: str) -> None:
        """Make everything below `part/` impossible to list."""
        self.unreadable.add(f"{part}/")

    def vanish(self) -> None:
        """Make all of it unreachable."""
        self.gone = True

    def contents(self) -> Any:
        """Everything it holds."""
        return dict(self.texts)


class MemoryListing:
    """Lists a `MemoryFolder`."""

    capabilities = LISTING

    def __init__(self, folder: MemoryFolder) -> None:
        self._folder = folder
        self._listed: dict[str, str] = {}

    def check(self) -> None:
        """The folder has to be there."""
        if self._folder.gone:
            raise Unreachable("the folder in memory is gone; set `gone` to False")

    def scan(self) -> Iterator[Entry]:
        """Everything there is."""
        self.check()
        self._listed = dict(self._folder.texts)
        for number, entry in enumerate(self._entries()):
            if number == self._folder.breaks_after:
                raise Unreachable("the listing broke off, as it was told to")
            yield entry

    def wait(self, timeout_s: float) -> bool:
        """Whether the texts are others than those last listed, within the time."""
        deadline = time.monotonic() + timeout_s
        while self._folder.texts == self._listed:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)
        return True

    def close(self) -> None:
        """Nothing is open."""

    def _entries(self) -> Iterator[Entry]:
        hidden = tuple(mark for mark in self._folder.unreadable if mark.endswith("/") or not mark)
        for prefix in hidden:
            yield Unreadable(prefix, _rejected(prefix))
        keys = sorted(key for key in self._folder.texts if not key.startswith(hidden))
        for group, members in groupby(keys, key=lambda key: key.partition("#")[0] if "#" in key else None):
            if group is None:
                yield from self._items(list(members))
            else:
                yield self._group(group, list(members))

    def _group(self, key: str, members: list[str]) -> Entry:
        broken = f"{key}#" in self._folder.unreadable
        said = [(member, self._folder.texts[member], member in self._folder.unreadable) for member in members]
        return Group(key, _hash(repr((said, broken))), lambda: self._members(key, members), f"memory:{key}")

    def _members(self, key: str, members: list[str]) -> Iterator[Item | Unreadable]:
        if f"{key}#" in self._folder.unreadable:
            yield Unreadable(f"{key}#", _rejected(key))
            return
        yield from self._items(members)

    def _items(self, keys: list[str]) -> Iterator[Item | Unreadable]:
        for key in keys:
            for _ in range(2 if key in self._folder.twice else 1):
                yield self._item(key)

    def _item(self, key: str) -> Item | Unreadable:
        if key in self._folder.unreadable:
            return Unreadable(key, _rejected(key), f"memory:{key}", self._folder.texts[key].encode())
        return Item(key, _hash(self._folder.texts[key]), lambda: self._load(key), f"memory:{key}")

    def _load(self, key: str) -> Document:
        if key in self._folder.refused or key not in self._folder.texts:
            raise _rejected(key)
        self._folder.loaded.append(key)
        return Document(text=self._folder.texts[key])


@dataclass
class MemoryHistory:
    """What a `MemoryStream` reports: every put and remove, in order.

    Attributes:
        bounded: A stream ends with what had happened when it was opened.
        breaks_at: Index of an event whose reading fails, once.
        confirmed: The positions that readers were told are durable.
        gone: Nothing can be reached at all.
        quiet_s: After so many seconds without an event there is none to come.
    """

    events: list[Event] = field(default_factory=list)
    bounded: bool = False
    breaks_at: int | None = None
    confirmed: list[Any] = field(default_factory=list)
    gone: bool = False
    quiet_s: float = 0.02

    def open(self) -> StreamSource:
        """A source over it."""
        return MemoryStream(self)

    def put(self, name: str, text: str) -> None:
        """Create or replace a document."""
        self.events.append(Event(name, "upsert", Document(text=text), f"memory:{name}"))

    def remove(self, name: str) -> None:
        """Take a document out."""
        self.events.append(Event(name, "delete"))

    def interrupt(self) -> None:
        """Make the reading of the last event fail, once."""
        self.breaks_at = len(self.events) - 1

    def vanish(self) -> None:
        """Make all of it unreachable."""
        self.gone = True

    def contents(self) -> Any:
        """Everything it holds."""
        return list(self.events)


class MemoryStream:
    """Reports a `MemoryHistory`; a position is the number of events that lie before it."""

    def __init__(self, history: MemoryHistory) -> None:
        self.capabilities = BOUNDED_STREAM if history.bounded else STREAM
        self._history = history

    def check(self) -> None:
        """The history has to be there."""
        if self._history.gone:
            raise Unreachable("the history in memory is gone; set `gone` to False")

    def open(self, position: Any | None) -> StreamReader:
        """Start behind `position` events."""
        self.check()
        return MemoryReader(self._history, 0 if position is None else position)


class MemoryReader:
    """An open `MemoryStream`."""

    def __init__(self, history: MemoryHistory, position: int) -> None:
        self._history = history
        self._position = position
        self._end = len(history.events) if history.bounded else None
        self._ended = False

    def read(self, limit: int, timeout_s: float) -> Batch:
        """The next events."""
        deadline = time.monotonic() + timeout_s
        while not self._available():
            if self._end is not None or time.monotonic() >= deadline:
                break
            time.sleep(0.005)
        events = self._available()[:limit]
        self._break(self._position + len(events))
        self._position += len(events)
        end = self._position == self._end and not self._ended
        self._ended = self._ended or end
        return Batch(events, self._position, end)

    def confirm(self, position: Any) -> None:
        """Note it down."""
        self._history.confirmed.append(position)

    def close(self) -> None:
        """Nothing is open."""

    def _available(self) -> list[Event]:
        return self._history.events[self._position : self._end]

    def _break(self, upto: int) -> None:
        at = self._history.breaks_at
        if at is not None and self._position <= at < upto:
            self._history.breaks_at = None
            raise Transient("the stream broke off, as it was told to")


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]


def _rejected(what: str) -> Rejected:
    return Rejected(f"{what} cannot be read, as it was told", kind="unreadable", retryable=True)
