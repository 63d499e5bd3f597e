"""The documents of a tour, and what is done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from nvisy.errors import UsageError

_EDITED = "ARCHITECTURE.md"
_DELETED = "docs/decisions/README.md"
_ANSWER = "docs/decisions/0007-a-process-per-stage.md"


@dataclass(frozen=True, slots=True)
class Corpus:
    """Some documents, and the parts they play.

    Attributes:
        documents: Contents by key, `docs/index.md`.
        edited: Key of the document that gets one more paragraph.
        deleted: Key of the document that goes away.
        question: What is asked in the end.
        answers: Keys of the documents that answer it, in other words than the question's.
    """

    documents: Mapping[str, bytes] = field(repr=False)
    edited: str
    deleted: str
    question: str
    answers: frozenset[str]


def samples() -> Corpus:
    """A dozen short texts about Nvisy that come with it."""
    folder = files("nvisy.quickstart") / "template" / "documents"
    return Corpus(
        {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.name.endswith(".md")},
        edited="passages.md",
        deleted="searching.md",
        question="My laptop died halfway: do I have to start over?",
        answers=frozenset({"crashes.md"}),
    )


def documentation(checkout: Path) -> Corpus:
    """The documentation of the project whose source tree is at `checkout`.

    Raises:
        UsageError: It is not there.
    """
    named = [checkout / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
    found = [path for path in [*named, *sorted(checkout.glob("docs/**/*.md"))] if path.is_file()]
    documents = {path.relative_to(checkout).as_posix(): path.read_bytes() for path in found}
    if not {_EDITED, _DELETED, _ANSWER} <= documents.keys():
        raise UsageError(
            f"--demo shows the project's own documentation, and {checkout} is not its source tree"
        )
    return Corpus(
        documents,
        edited=_EDITED,
        deleted=_DELETED,
        question="Why are there separate programs instead of threads?",
        answers=frozenset({_ANSWER}),
    )
