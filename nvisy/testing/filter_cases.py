"""What search filters find among a handful of records: the same in every store.

A store's own test writes `RECORDS` into a collection and asserts, for every filter in `FOUND`, that a search
with it gives the records of exactly those keys. `CASES` is the same one record at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

RECORDS: tuple[Mapping[str, Any], ...] = (
    {
        "key": "a.md",
        "source_uri": "https://example.org/a",
        "metadata": {
            "lang": "en",
            "page": 1,
            "score": 0.5,
            "draft": True,
            "tags": ["legal", "x"],
            "x-y": "é",
        },
    },
    {
        "key": "b.md",
        "source_uri": "https://example.org/b",
        "metadata": {"lang": "de", "page": 10, "score": 1.0, "draft": False, "tags": ["en"], "a.b": "dotted"},
    },
    {
        "key": "Z/c.md",
        "source_uri": None,
        "metadata": {"lang": "En", "page": -3, "score": 1, "draft": 1, "tags": [], 'it\'s "q" \\': "quoted"},
    },
    {
        "key": "é.md",
        "source_uri": "",
        "metadata": {"lang": None, "page": "1", "draft": "true", "tags": "legal"},
    },
    {"key": "d%_.md", "source_uri": "file:///d", "metadata": {"lang": "", "page": 2.5, "score": 1e-9}},
    {"key": "it's.md", "source_uri": "file:///e", "metadata": {}},
    {
        "key": "big",
        "source_uri": "file:///f",
        "metadata": {"page": 9007199254740993, "lang": "en ", "draft": 0},
    },
)
"""Records with what stores get wrong: missing, null and empty values, bools beside numbers, text beside both,
names and text that need quoting, a list beside its only element, a number that no float holds."""

_ALL = frozenset(record["key"] for record in RECORDS)
_A, _B, _C, _E, _D, _I, _BIG = (record["key"] for record in RECORDS)

FOUND: Mapping[str, frozenset[str]] = {
    # fields of the record itself
    "key == 'a.md'": frozenset({_A}),
    "key != 'a.md'": _ALL - {_A},
    "'a.md' == key": frozenset({_A}),
    'key == "it\'s.md"': frozenset({_I}),
    "key == 'd%_.md'": frozenset({_D}),
    "key == 'é.md'": frozenset({_E}),
    "key == 'A.md'": frozenset(),
    "key < 'b'": frozenset({_A, _C}),
    "key <= 'b.md'": frozenset({_A, _B, _C}),
    "key > 'it'": frozenset({_I, _E}),
    "key >= 'é'": frozenset({_E}),
    "key in ['a.md', 'b.md', 'nowhere']": frozenset({_A, _B}),
    "key in []": frozenset(),
    "!(key in [])": _ALL,
    "source_uri == 'https://example.org/a'": frozenset({_A}),
    "source_uri == ''": frozenset({_E}),
    "source_uri != 'https://example.org/a'": _ALL - {_A, _C},
    "!(source_uri == 'https://example.org/a')": _ALL - {_A},
    # text in metadata
    "metadata.lang == 'en'": frozenset({_A}),
    "metadata.lang == ''": frozenset({_D}),
    "metadata.lang != 'en'": frozenset({_B, _C, _D, _BIG}),
    "!(metadata.lang == 'en')": _ALL - {_A},
    "!(metadata.lang != 'en')": frozenset({_A, _E, _I}),
    "metadata.lang < 'en'": frozenset({_B, _C, _D}),
    "metadata.lang > 'a'": frozenset({_A, _B, _BIG}),
    "metadata.lang in ['en', 'de']": frozenset({_A, _B}),
    "!(metadata.lang in ['en', 'de'])": _ALL - {_A, _B},
    # numbers, and what is no number
    "metadata.page == 1": frozenset({_A}),
    "metadata.page == 1.0": frozenset({_A}),
    "1 == metadata.page": frozenset({_A}),
    "metadata.page == '1'": frozenset({_E}),
    "metadata.page != 1": frozenset({_B, _C, _E, _D, _BIG}),
    "metadata.page != '1'": frozenset({_A, _B, _C, _D, _BIG}),
    "metadata.page < 2": frozenset({_A, _C}),
    "metadata.page <= 2.5": frozenset({_A, _C, _D}),
    "metadata.page > 2": frozenset({_B, _D, _BIG}),
    "2 < metadata.page": frozenset({_B, _D, _BIG}),
    "metadata.page >= 10": frozenset({_B, _BIG}),
    "metadata.page > 9007199254740991": frozenset({_BIG}),
    "metadata.page >= -3": frozenset({_A, _B, _C, _D, _BIG}),
    "metadata.page < '2'": frozenset({_E}),
    "metadata.page in [1, 10, 'x']": frozenset({_A, _B}),
    "metadata.page in [1.0, '1', -3]": frozenset({_A, _C, _E}),
    "metadata.score == 1": frozenset({_B, _C}),
    "metadata.score < 0.5": frozenset({_D}),
    # true and false are no numbers
    "metadata.draft == true": frozenset({_A}),
    "metadata.draft == false": frozenset({_B}),
    "metadata.draft != true": frozenset({_B, _C, _E, _BIG}),
    "metadata.draft == 1": frozenset({_C}),
    "metadata.draft == 0": frozenset({_BIG}),
    "metadata.draft > -1": frozenset({_C, _BIG}),
    "metadata.draft == 'true'": frozenset({_E}),
    "metadata.draft in [true]": frozenset({_A}),
    "metadata.draft in [1, 'true']": frozenset({_C, _E}),
    # lists
    "'legal' in metadata.tags": frozenset({_A}),
    "'en' in metadata.tags": frozenset({_B}),
    "!('legal' in metadata.tags)": _ALL - {_A},
    "metadata.tags == 'legal'": frozenset({_E}),
    "metadata.tags == 'en'": frozenset(),
    "metadata.tags != 'legal'": frozenset({_A, _B, _C}),
    "metadata.tags in ['legal', 'en']": frozenset({_E}),
    "metadata.tags > ''": frozenset({_E}),
    # presence
    "has(metadata.lang)": _ALL - {_E, _I},
    "!has(metadata.lang)": frozenset({_E, _I}),
    "has(metadata.tags)": frozenset({_A, _B, _C, _E}),
    "has(metadata.draft)": frozenset({_A, _B, _C, _E, _BIG}),
    "has(metadata.nothing)": frozenset(),
    # names that need quoting
    "metadata['x-y'] == 'é'": frozenset({_A}),
    "'x-y' in metadata": frozenset({_A}),
    "metadata['a.b'] == 'dotted'": frozenset({_B}),
    "metadata.a == 'dotted'": frozenset(),
    "has(metadata.a)": frozenset(),
    "metadata['it\\'s \"q\" \\\\'] == 'quoted'": frozenset({_C}),
    # joined
    "metadata.lang == 'en' && metadata.page == 1": frozenset({_A}),
    "metadata.lang == 'en' && metadata.page == 2": frozenset(),
    "metadata.lang == 'en' || metadata.page == 10 || key == 'big'": frozenset({_A, _B, _BIG}),
    "metadata.lang == 'de' || metadata.lang == 'en' && metadata.page == 2": frozenset({_B}),
    "(metadata.lang == 'de' || metadata.lang == 'en') && metadata.page == 1": frozenset({_A}),
    "!(metadata.lang == 'en' && metadata.page == 1)": _ALL - {_A},
    "!(metadata.lang == 'en' || metadata.lang == 'de')": _ALL - {_A, _B},
    "!!(metadata.lang == 'en')": frozenset({_A}),
    "!(metadata.page < 2) && !(metadata.page >= 2)": frozenset({_E, _I}),
    "has(metadata.lang) && !(metadata.lang == 'en') && key != 'big'": frozenset({_B, _C, _D}),
}
"""A filter to the keys of the records it finds."""


class FilterCase(NamedTuple):
    """Whether `record` passes the filter written as `text`."""

    text: str
    record: Mapping[str, Any]
    expected: bool


CASES: tuple[FilterCase, ...] = tuple(
    FilterCase(text, record, record["key"] in keys) for text, keys in FOUND.items() for record in RECORDS
)
