"""One place that held something of a document, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """What of a document a place held, and holds.

    Attributes:
        name: The place, for people: `topic docs.files`, `sink index`.
        gone: How many records, letters, vectors or files of it are no more.
        left: How many can still be read there.
        until: Why something may still be there, and when it goes; empty where nothing is left.
    """

    name: str
    gone: int = 0
    left: int = 0
    until: str = ""
