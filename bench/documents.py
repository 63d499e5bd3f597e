"""Documents that look like prose, the same for the same seed: JSON Lines of about 1,200 characters of text each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path

import orjson

_SYLLABLES = [
    "ba",
    "den",
    "fi",
    "gor",
    "hul",
    "ja",
    "ken",
    "lo",
    "mar",
    "nis",
    "or",
    "pel",
    "qui",
    "ras",
    "tem",
    "un",
    "vil",
    "wex",
    "yor",
    "zan",
    "ter",
    "ing",
    "ous",
    "al",
]
_N_WORDS = 20_000
_N_SENTENCES = 20_000
_PARAGRAPHS = 4
_SENTENCES = 3


class Prose:
    """Sentences of words whose frequencies fall as they do in a language, in paragraphs."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        words = ["".join(rng.choices(_SYLLABLES, k=rng.randint(1, 4))) for _ in range(_N_WORDS)]
        weights = list(accumulate(1 / (rank + 3) for rank in range(_N_WORDS)))
        self._sentences = [
            " ".join(rng.choices(words, cum_weights=weights, k=rng.randint(8, 16))).capitalize() + "."
            for _ in range(_N_SENTENCES)
        ]

    def text(self, number: int, edition: int = 0) -> str:
        """The text of document `number`; another edition says one thing more."""
        rng = random.Random(number)
        drawn = rng.choices(self._sentences, k=_PARAGRAPHS * _SENTENCES)
        paragraphs = [
            " ".join(drawn[start : start + _SENTENCES]) for start in range(0, len(drawn), _SENTENCES)
        ]
        if edition:
            paragraphs[edition % len(paragraphs)] += f" This is edition {edition} of number {number}."
        return "\n\n".join(paragraphs)


def write(
    path: Path, count: int, *, edition: Callable[[int], int] = lambda _number: 0, seed: int = 1
) -> None:
    """Write `count` documents; `edition` says which edition of each."""
    prose = Prose(seed)
    with path.open("wb") as file:
        for number in range(count):
            document = {"id": f"d{number:07}", "text": prose.text(number, edition(number))}
            file.write(orjson.dumps(document) + b"\n")


def read(path: Path) -> Iterator[tuple[str, str]]:
    """Id and text of each document of a file, as a script would read them."""
    with path.open("rb") as file:
        for line in file:
            if line != b"\n":
                document = orjson.loads(line)
                yield document["id"], document["text"]
