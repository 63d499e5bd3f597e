"""`local/hash`: a lexical stand-in for a model, without weights: texts that share words are near each other."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from hashlib import blake2b
from math import isqrt

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nvisy.connector.descriptor import ModelDescriptor, Params
from nvisy.connector.model import Embedded

NAME = "local/hash"
REVISION = "1"
MAX_BATCH = 1024

_LONGEST_WORD = 64  # a longer run is cut: nothing that is kept grows with the text
_LENGTH_LIMIT = 16  # what a word can weigh
_WORD_PLACES = 4  # one place alone would collide with one of a chunk's 60 words a fifth of the time
_TRIGRAMS = 12
_FEATURES = _WORD_PLACES + _TRIGRAMS
_KEPT_WORDS = 1 << 17
_WORDS_AT_ONCE = 1 << 17

_find_words = re.compile(rf"\w{{1,{_LONGEST_WORD}}}").findall


class HashParams(Params):
    """Parameters of `local/hash`."""

    dimensions: int = Field(256, ge=8, le=4096, description="Length of the vectors.")


class HashModel:
    """Signed feature hashing of words and of their character trigrams.

    The model is lexical: it knows nothing of meaning, and a question in other words than the text finds nothing.
    A word weighs as its length, for long words are rarer, and as the logarithm of its count. Every weight is an
    integer, so that the sums are exact and the vectors the same bits on every machine and in every batch.
    """

    name = NAME
    revision = REVISION
    max_batch = MAX_BATCH
    max_in_flight = 1
    cached = False

    def __init__(self, dimensions: int = 256) -> None:
        self.dimensions = dimensions
        self._words = _Words(dimensions)

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Unit vectors for `texts`, never zero: a text without words counts as one word."""
        self._words.forget_if_full()
        vectors = [np.empty((0, self.dimensions), np.float32)]
        numbers: list[int] = []
        lengths: list[int] = []
        for text in texts:
            words = _find_words(text.casefold()) or [text[:_LONGEST_WORD]]
            numbers += map(self._words.__getitem__, words)
            lengths.append(len(words))
            if len(numbers) > _WORDS_AT_ONCE:
                vectors.append(self._vectors(numbers, lengths))
                numbers, lengths = [], []
        if lengths:
            vectors.append(self._vectors(numbers, lengths))
        return Embedded(np.concatenate(vectors))

    def close(self) -> None:
        """Forget the words seen."""
        self._words = _Words(self.dimensions)

    def _vectors(self, numbers: list[int], lengths: list[int]) -> NDArray[np.float32]:
        """One row per text, which has `lengths` of the words in `numbers`."""
        text_of = np.repeat(np.arange(len(lengths)), lengths)
        pairs, counts = np.unique(text_of << 32 | np.array(numbers, np.int64), return_counts=True)
        text_of, word_of = pairs >> 32, pairs & 0xFFFFFFFF
        codes = self._words.codes[word_of]
        negative = codes >> 31  # -1 or 0
        stride = self.dimensions + 1  # the last place takes the features a short word lacks
        places = (codes ^ negative) + (text_of * stride)[:, None]
        bit_lengths = np.frexp(counts)[1]  # the logarithm, as an integer
        weights = _WEIGHTS[self._words.lengths[word_of]] * (3 + bit_lengths)[:, None] * (negative | 1)
        sums = np.bincount(places.ravel(), weights.ravel(), len(lengths) * stride).astype(
            np.float64, copy=False
        )
        return _normalised(sums.reshape(len(lengths), stride)[:, :-1])


class _Words(dict[str, int]):
    """A number for every word met, and where the word shows in a vector.

    Attributes:
        codes: int32, a row per word: the places of its features, `~place` where the sign is negative.
        lengths: int32, of the words, in characters.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.codes = np.empty((1 << 12, _FEATURES), np.int32)
        self.lengths = np.empty(len(self.codes), np.int32)
        self._trigrams = _Trigrams(dimensions)
        self._dimensions = dimensions

    def __missing__(self, word: str) -> int:
        number = len(self)
        if number == len(self.codes):
            self.codes = np.concatenate([self.codes, np.empty_like(self.codes)])
            self.lengths = np.concatenate([self.lengths, np.empty_like(self.lengths)])
        padded = f"<{word}>"
        trigrams = [padded[at : at + 3] for at in range(min(len(word), _TRIGRAMS))]
        missing = [self._dimensions] * (_TRIGRAMS - len(trigrams))
        places = _places(word, b"word", self._dimensions, _WORD_PLACES)
        self.codes[number] = [*places, *map(self._trigrams.__getitem__, trigrams), *missing]
        self.lengths[number] = len(word)
        self[word] = number
        return number

    def forget_if_full(self) -> None:
        if len(self) > _KEPT_WORDS:
            self.clear()
        if len(self._trigrams) > _KEPT_WORDS:
            self._trigrams.clear()


class _Trigrams(dict[str, int]):
    """The place of every trigram met."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self._dimensions = dimensions

    def __missing__(self, trigram: str) -> int:
        (place,) = _places(trigram, b"trigram", self._dimensions, 1)
        self[trigram] = place
        return place


def _places(text: str, kind: bytes, dimensions: int, count: int) -> list[int]:
    """`count` places for `text` by its hash, `~place` where the sign is negative."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4 * count, person=kind).digest()
    values = struct.unpack(f"<{count}I", digest)
    return [(value >> 1) % dimensions ^ -(value & 1) for value in values]


def _weights_by_length() -> NDArray[np.int64]:
    """Weights of the features of a word by its length; its trigrams together are as strong as the word."""
    rows = []
    for length in range(_LONGEST_WORD + 1):
        weight = 8 * min(length, _LENGTH_LIMIT)
        trigrams = max(1, min(length, _TRIGRAMS))
        rows.append([weight] * _WORD_PLACES + [isqrt(_WORD_PLACES * weight**2 // trigrams)] * _TRIGRAMS)
    return np.array(rows)


_WEIGHTS = _weights_by_length()


def _normalised(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    squares = np.einsum("ij,ij->i", sums, sums)
    cancelled = squares == 0
    sums[cancelled, 0] = squares[cancelled] = 1
    vectors: NDArray[np.float32] = (sums / np.sqrt(squares)[:, None]).astype(np.float32)
    return vectors


DESCRIPTOR = ModelDescriptor(
    name=NAME,
    summary="Lexical, deterministic, without weights: signed hashing of words and their character trigrams.",
    params=HashParams,
    facts=lambda params: (REVISION, params.dimensions),
    open=lambda params: HashModel(params.dimensions),
)
