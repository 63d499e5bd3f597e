"""What must be left in the sinks: a plain sequential model of the graphs. It shares no code with the product.

A source is a history of `(key, text)`, in order; None is a delete. The model goes through it once and keeps, per key,
what a sink may hold. Where the latest version cannot be processed there is a choice: whatever good version was there
before it stays, and a version that was replaced before anybody looked may never have been seen.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

DIMENSIONS = 8
BAD = "BAD"
"""A document that begins like this cannot be split."""
REFUSED = "REFUSE"
"""A document with this word in it is refused by a sink that a row has told so."""
LOUD = "river"
"""A passage with this word takes the other branch."""
BRIEF = "cloud"
"""A passage with this word does not go to the second sink."""

Shape = str
"""`chain`, `branch` or `fanout`: see `graphs.py`."""
SINKS: Mapping[Shape, tuple[str, ...]] = {
    "chain": ("index",),
    "branch": ("index",),
    "fanout": ("index", "other"),
}


class Entry(NamedTuple):
    """One record of a sink, as far as the source decides it."""

    text: str
    start: int
    end: int
    length: int

    @property
    def vector(self) -> tuple[float, ...]:
        """Its vector, of which only the text is a part."""
        return vector_of(self.text)


Entries = Counter[Entry]


def vector_of(text: str) -> tuple[float, ...]:
    """What the test's model says of a text: digits of a hash, of length 1."""
    digits = [byte - 127.5 for byte in hashlib.shake_128(text.encode()).digest(DIMENSIONS)]
    norm = math.sqrt(sum(digit * digit for digit in digits))
    return tuple(digit / norm for digit in digits)


def passages(text: str) -> Iterator[Entry]:
    """Passages are parted by blank lines; one of spaces alone is none."""
    start = 0
    for part in text.split("\n\n"):
        if part.strip():
            yield Entry(part, start, start + len(part), len(part))
        start += len(part) + 2


def entries(shape: Shape, sink: str, text: str | None) -> Entries:
    """What a sink holds of one document."""
    found = list(passages(text)) if text is not None else []
    if shape == "branch":
        found = [one._replace(text=one.text.upper()) if LOUD in one.text else one for one in found]
    if sink == "other":
        found = [one for one in found if BRIEF not in one.text]
    return Counter(found)


@dataclass
class _Key:
    """What is known of a key at one sink.

    Attributes:
        settled: Versions that a sink may hold since everything was last at rest.
        since: Good versions after that.
        latest: The last one of all.
    """

    shape: Shape
    sink: str
    settled: list[str | None] = field(default_factory=lambda: [None])
    since: list[str | None] = field(default_factory=list)
    latest: str | None = None

    @property
    def failed(self) -> bool:
        """Whether the latest version fails before this sink, or is refused by it."""
        if self.latest is None:
            return False
        given = entries(self.shape, self.sink, self.latest)
        return self.latest.startswith(BAD) or any(REFUSED in one.text for one in given)

    def candidates(self) -> list[str | None]:
        return [*self.settled, *self.since] if self.failed else [self.latest]


class Oracle:
    """The history of one source, and what it comes to."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self._keys: dict[str, list[_Key]] = {}

    def says(self, key: str, text: str | None) -> None:
        """The source has this version of `key` now."""
        for known in self._keys.setdefault(key, self._new()):
            known.latest = text
            if not known.failed:
                known.since.append(text)

    def settle(self) -> None:
        """Everything is at rest: what a later version that fails may leave in place is known."""
        for known in self._every():
            known.settled, known.since = known.candidates(), []

    def keys(self) -> list[str]:
        """Every key there ever was."""
        return list(self._keys)

    def letters(self) -> set[str]:
        """Keys whose latest version belongs among the dead letters."""
        return {key for key, sinks in self._keys.items() if any(known.failed for known in sinks)}

    def allowed(self, sink: str, key: str) -> list[Entries]:
        """What `sink` may hold of `key`, one of these."""
        known = next(one for one in self._keys.get(key, self._new()) if one.sink == sink)
        return [entries(self.shape, sink, text) for text in known.candidates()]

    def texts(self) -> set[str]:
        """Texts a model had to be asked for, at the most, had every version been seen so far."""
        versions = [text for known in self._every() for text in (*known.settled, *known.since)]
        return {one.text for text in versions for sink in SINKS[self.shape] for one in self._of(sink, text)}

    def _new(self) -> list[_Key]:
        return [_Key(self.shape, sink) for sink in SINKS[self.shape]]

    def _every(self) -> Iterator[_Key]:
        return (known for sinks in self._keys.values() for known in sinks)

    def _of(self, sink: str, text: str | None) -> Entries:
        return entries(self.shape, sink, text)


class Difference(NamedTuple):
    """Records that are missing, and records that should not be there, each as a sentence."""

    lost: list[str]
    extra: list[str]


def compare(oracle: Oracle, sink: str, held: Mapping[str, Entries]) -> Difference:
    """What `sink` holds, by key, against what it must hold: the closest of what is allowed."""
    lost: list[str] = []
    extra: list[str] = []
    for key in sorted({*oracle.keys(), *held}):
        has = held.get(key, Counter())
        missing, more = min(
            ((wanted - has, has - wanted) for wanted in oracle.allowed(sink, key)),
            key=lambda pair: pair[0].total() + pair[1].total(),
        )
        lost += [f"{sink} {key}: {_said(one)}" for one in missing.elements()]
        extra += [f"{sink} {key}: {_said(one)}" for one in more.elements()]
    return Difference(lost, extra)


def _said(entry: Entry) -> str:
    return f"{entry.text[:40]!r} at {entry.start}:{entry.end}"
