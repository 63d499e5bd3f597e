"""A folder of documents that is edited by seed, and the oracle that is told of every edit."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults.oracle import BAD, Oracle

WORDS = ("river", "stone", "cloud", "engine", "garden", "letter", "market", "silver", "thunder", "window")


class Source:
    """The documents of one pipeline."""

    def __init__(self, folder: Path, oracle: Oracle, seed: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.oracle = oracle
        self.rng = random.Random(seed)
        self._serial = 0
        self._now: dict[str, str] = {}

    def write(self, key: str, text: str) -> None:
        """A new version of a document; in one step, so that no listing sees half of it."""
        whole = self.folder.parent / "being-written"
        whole.write_bytes(text.encode())
        whole.rename(self.folder / key)
        self._now[key] = text
        self.oracle.says(key, text)

    def delete(self, key: str) -> None:
        """The document is gone."""
        (self.folder / key).unlink()
        del self._now[key]
        self.oracle.says(key, None)

    def names(self) -> list[str]:
        """Documents there are now."""
        return sorted(self._now)

    def text(self, key: str) -> str:
        """A document as it is now."""
        return self._now[key]

    def fill(self, count: int) -> None:
        """So many documents of some passages each."""
        for number in range(count):
            self.write(f"d{number:03}.txt", self.document(self.rng.randint(1, 6)))

    def passage(self) -> str:
        """A passage that there has not been before."""
        self._serial += 1
        return f"Passage {self._serial}: {' '.join(self.rng.choice(WORDS) for _ in range(8))}."

    def document(self, n_passages: int) -> str:
        """A document of new passages."""
        return "\n\n".join(self.passage() for _ in range(n_passages))

    def edit(self, count: int = 6) -> None:
        """A round of edits: as many documents changed, each in a way of its own, no document twice."""
        for key in self.rng.sample(self.names(), min(count, len(self._now))):
            self.rng.choice(
                (
                    self._append,
                    self._insert,
                    self._shrink,
                    self._replace,
                    self._spoil,
                    self._empty,
                    self._repeat,
                )
            )(key)
        self._bring_back_or_delete()

    def _bring_back_or_delete(self) -> None:
        gone = sorted(set(self.oracle.keys()) - self._now.keys())
        if gone and self.rng.random() < 0.5:
            self.write(self.rng.choice(gone), self.document(2))
        if len(self._now) > 12:
            self.delete(self.rng.choice(self.names()))
        if len(self._now) < 20:
            self.write(f"n{self._serial:05}.txt", self.document(2))

    def _parts(self, key: str) -> list[str]:
        text = self._now[key]
        return [] if text.startswith(BAD) else [part for part in text.split("\n\n") if part.strip()]

    def _append(self, key: str) -> None:
        self.write(key, "\n\n".join([*self._parts(key), self.passage()]))

    def _insert(self, key: str) -> None:
        self.write(key, "\n\n".join([self.passage(), *self._parts(key)]))

    def _shrink(self, key: str) -> None:
        self.write(key, "\n\n".join(self._parts(key)[1:2]) or self.passage())

    def _replace(self, key: str) -> None:
        self.write(key, self.document(3))

    def _spoil(self, key: str) -> None:
        self.write(key, f"{BAD} {self.passage()}")

    def _empty(self, key: str) -> None:
        self.write(key, "\n\n \n\n")

    def _repeat(self, key: str) -> None:
        parts = self._parts(key) or [self.passage()]
        self.write(key, "\n\n".join([*parts, parts[0]]))
