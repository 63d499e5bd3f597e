"""Cut a text into chunks at places its own content chooses, so that an edit moves few of them.

A chunk starts where the text around it says so: every possible place has a rank (heading, blank line,
line, sentence, … and then a hash of the words that follow), and a place is cut when no other place within
`_REACH` of a chunk's size outranks it. Nothing depends on the distance to the top of the text. A piece that
is still longer than `size` is cut from its end to its beginning, at the best place within a chunk's length;
where there is none, by clauses, words and characters.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple
from zlib import crc32

_REACH = 0.3  # of size: nearer than this, the lower-ranked of two places gives way
_MIN_PIECE = 0.125  # of size: what a division of a long piece leaves at its beginning
_NEAR_CHARS, _FAR_CHARS = 16, 80  # the hash of the near words ranks; the far ones only break its ties

_HEADING, _PARAGRAPH, _LINE, _SENTENCE, _WRAP = 5, 4, 3, 2, 1

# Full-width marks (U+FF01 ...) are named by number, for they look like the ASCII ones.
_CLOSERS = r"[\"')\]}*_`\u201d\u2019»」』\uff09]*+"
_BREAKS = re.compile(
    r"[\n.!?…。\uff01\uff1f](?:(?<=\n)\s*+"
    rf"|(?<=[.!?…]){_CLOSERS}\s++(?![a-z])"
    rf"|(?<=[。\uff01\uff1f]){_CLOSERS}\s*+)"
)
_CLAUSES = re.compile(r"[,;:]\s++|[、\uff0c\uff1b\uff1a]\s*+")
_WORDS = re.compile(r"\s++")
_HEADING_MARK = re.compile(r"#{1,6}\s")
_ITEM_MARK = re.compile(r"[-*+|>`~]|\d+[.)]\s")


class Span(NamedTuple):
    """Where a chunk lies in its text: characters `start` (included) to `end` (excluded)."""

    start: int
    end: int


class _Places(NamedTuple):
    """Candidate cuts in rising order, and what each is worth; the greater rank wins."""

    at: list[int]
    rank: list[int]


def split(text: str, size: int, overlap: int = 0) -> list[Span]:
    """Cut `text` into spans of at most `size` characters at places chosen by content.

    Spans are in order, start and end on visible characters, and (without overlap) hold every visible
    character exactly once. The same text gives the same spans in every process. A short insertion at
    the top changes one chunk or two, one elsewhere seldom three; with an overlap, the next one as well.

    Args:
        text: What to cut. Blank text has no spans.
        size: The longest span, in characters, overlap included.
        overlap: How many characters of the previous chunk a span may repeat, in whole words if it can.

    Raises:
        ValueError: `size` is below 1, or `overlap` is negative or not below `size`.
    """
    if size < 1:
        raise ValueError(f"chunk size is {size} characters; it must be at least 1")
    if not 0 <= overlap < size:
        raise ValueError(f"chunk overlap is {overlap} characters; it must be from 0 to size - 1 ({size - 1})")
    spans = _Splitter(text, size - overlap).spans()
    return _overlapped(text, spans, overlap) if overlap else spans


_Finders = tuple[Callable[[int, int], _Places], ...]


class _Splitter:
    """One text being cut at one size."""

    def __init__(self, text: str, size: int) -> None:
        self._text = text
        self._size = size
        self._reach = max(1, int(size * _REACH))
        self._margin = max(1, int(size * _MIN_PIECE))
        # Lone surrogates cannot be encoded to be hashed; each stands as a question mark there.
        self._hashed = text if text.isascii() else text.encode(errors="replace").decode()

    def spans(self) -> list[Span]:
        text = self._text
        end = len(text.rstrip())
        if not end:
            return []
        start = len(text) - len(text.lstrip())
        finders = (self._find_breaks, self._find_clauses, self._find_words, self._find_characters)
        cuts = [start, *self._cuts(start, end, finders), end]
        return [span for left, right in pairwise(cuts) if (span := self._trim(left, right))]

    def _trim(self, left: int, right: int) -> Span | None:
        piece = self._text[left:right]
        start = left + len(piece) - len(piece.lstrip())
        end = left + len(piece.rstrip())
        return Span(start, end) if start < end else None

    def _cuts(self, left: int, right: int, finders: _Finders) -> list[int]:
        """The cuts inside a piece, none if it fits: by the first finder, by the next where it finds none."""
        if right - left <= self._size or len(self._text[left:right].rstrip()) <= self._size:
            return []
        if not finders:
            return list(range(left + self._size, right, self._size))
        places = finders[0](left, right)
        cuts: list[int] = []
        start, first = left, 0
        for peak in self._peaks(places, left, right):
            cuts += self._divide(places, (first, peak), start, places.at[peak], finders[1:])
            start, first = places.at[peak], peak + 1
            cuts.append(start)
        return cuts + self._divide(places, (first, len(places.at)), start, right, finders[1:])

    def _peaks(self, places: _Places, left: int, right: int) -> Iterator[int]:
        """Places that nothing within reach outranks, and that are not too near the piece's ends."""
        at, rank = places
        reach, count = self._reach, len(at)
        low = high = 0
        last, last_rank = left, -1
        for i, (place, worth) in enumerate(zip(at, rank, strict=True)):
            # Equals (a repeated sentence) take turns from the left, and leave room for a whole chunk.
            if place - last < (reach if worth != last_rank else 2 * reach):
                continue
            if i and rank[i - 1] > worth and place - at[i - 1] <= reach:
                continue
            if right - place < reach:
                return
            while place - at[low] > reach:
                low += 1
            high = max(high, i)
            while high < count and at[high] - place <= reach:
                high += 1
            if max(rank[low:high]) == worth:
                yield i
                last, last_rank = place, worth

    def _divide(
        self, places: _Places, window: tuple[int, int], left: int, right: int, finders: _Finders
    ) -> list[int]:
        """The cuts of a piece whose places are those of `window`, until every part of it fits."""
        if right - left <= self._size:
            return []
        cuts: list[int] = []
        start, first = left, window[0]
        # A stretch with no place within a chunk's length is cut by the next finder, with a crumb that stands before it.
        ends = [*places.at[slice(*window)], right]
        for i, (before, after) in enumerate(pairwise([left, *ends])):
            if after - before > self._size:
                if before - start >= self._reach:
                    cuts += [*self._pack(places, (first, window[0] + i), start, before), before]
                    start = before
                cuts += self._cuts(start, after, finders)
                cuts += [after] if after < right else []
                start, first = after, window[0] + i + 1
        return cuts + self._pack(places, (first, window[1]), start, right)

    def _pack(self, places: _Places, window: tuple[int, int], left: int, right: int) -> list[int]:
        """The cuts of a piece that has a place within every chunk's length, each by what lies behind it.

        They are made from the end to the beginning, so text that is put in before a cut does not move it.
        """
        cuts: list[int] = []
        while right - left > self._size:
            low, high = right - self._size, right - self._reach
            if right - left < self._size + self._margin:
                low = left + self._margin  # two parts are enough: neither is to be a crumb
            right = places.at[self._best(places, window, low, high, right)]
            cuts.append(right)
        return cuts[::-1]

    def _best(self, places: _Places, window: tuple[int, int], low: int, high: int, end: int) -> int:
        """The highest-ranked place from `low` to `high`, else the one nearest to them before `end`."""
        first = bisect_left(places.at, low, *window)
        stop = bisect_right(places.at, high, *window)
        if first < stop:
            return max(range(first, stop), key=places.rank.__getitem__)
        return first if first < window[1] and places.at[first] < end else first - 1

    def _find_breaks(self, left: int, right: int) -> _Places:
        """Headings, paragraphs, lines and sentences."""
        text = self._hashed
        at: list[int] = []
        rank: list[int] = []
        for match in _BREAKS.finditer(text, left, right):
            start, end = match.span()
            strength = self._strength(start, end) if "\n" in match[0] else _SENTENCE
            if strength and end < right:
                near = end + _NEAR_CHARS
                at.append(end)
                rank.append(
                    strength << 64
                    | crc32(text[end:near].encode()) << 32
                    | crc32(text[near : end + _FAR_CHARS].encode())
                )
        return _Places(at, rank)

    def _strength(self, start: int, end: int) -> int:
        """What a break that holds a newline, from `start` to `end`, is worth; 0 if it is no place to cut."""
        text = self._text
        if _HEADING_MARK.match(text, end):
            return _HEADING
        after_sentence = text[start] != "\n"
        if not after_sentence and _HEADING_MARK.match(text, text.rfind("\n", 0, start) + 1):
            return 0  # a heading stays with what it heads
        if text.count("\n", start, end) > 1:
            return _PARAGRAPH
        return _LINE if after_sentence or _ITEM_MARK.match(text, end) else _WRAP

    def _find_clauses(self, left: int, right: int) -> _Places:
        return self._find(_CLAUSES, left, right)

    def _find_words(self, left: int, right: int) -> _Places:
        return self._find(_WORDS, left, right)

    def _find(self, pattern: re.Pattern[str], left: int, right: int) -> _Places:
        text = self._hashed
        at = [end for match in pattern.finditer(text, left + 1, right) if (end := match.end()) < right]
        return _Places(at, [crc32(text[place : place + _NEAR_CHARS].encode()) for place in at])

    def _find_characters(self, left: int, right: int) -> _Places:
        """Every nth character, n by its hash: a long run without spaces would be all places otherwise."""
        text = self._hashed
        every = max(1, self._size // 32)
        ranked = [
            (place, rank)
            for place in range(left + 1, right)
            if not (rank := crc32(text[place : place + _NEAR_CHARS].encode())) % every
        ]
        return _Places([place for place, _ in ranked], [rank for _, rank in ranked])


def _overlapped(text: str, spans: Iterable[Span], overlap: int) -> list[Span]:
    grown: list[Span] = []
    earliest = 0
    for span in spans:
        start = _word_start(text, max(earliest, span.start - overlap), span.start) if grown else span.start
        grown.append(Span(start, span.end))
        earliest = span.start
    return grown


def _word_start(text: str, start: int, stop: int) -> int:
    """The first place from `start` where a word begins, `start` itself if there is none before `stop`."""
    if text[start].isspace() or (start and not text[start - 1].isspace()):
        space = _WORDS.search(text, start, stop)
        start = space.end() if space else start
    return start
