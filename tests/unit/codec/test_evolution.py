"""Which changes of a schema break a reader, in either direction."""

import re

import pytest

from nvisy.codec.evolution import breaks


def record(*fields, name="R"):
    return {"type": "record", "name": name, "fields": list(fields)}


def field(name, kind, **more):
    return {"name": name, "type": kind, **more}


def enum(*symbols, **more):
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


MICROS = {"type": "long", "logicalType": "timestamp-micros"}

FINE = {
    "nothing changed": (record(field("a", "long")), record(field("a", "long"))),
    "a field with a default": (
        record(field("a", "long"), field("b", "long", default=0)),
        record(field("a", "long")),
    ),
    "a field dropped": (record(), record(field("a", "long"))),
    "another order": (
        record(field("b", "string"), field("a", "long")),
        record(field("a", "long"), field("b", "string")),
    ),
    "a wider number": (record(field("a", "double")), record(field("a", "int"))),
    "null allowed": (record(field("a", ["null", "long"])), record(field("a", "long"))),
    "a branch more": (record(field("a", ["null", "long", "string"])), record(field("a", ["null", "long"]))),
    "a word more": (enum("a", "b", "c"), enum("a", "b")),
    "a word dropped, with a default": (enum("a", default="a"), enum("a", "b")),
    "an alias": (record(field("b", "long", aliases=["a"])), record(field("a", "long"))),
    "a name instead of a definition": (
        record(field("x", record(field("a", "long"), name="S")), field("y", "S")),
        record(field("x", record(field("a", "long"), name="S")), field("y", "S")),
    ),
}
BROKEN = {
    "a field without a default": (
        record(field("a", "long"), field("b", "long")),
        record(field("a", "long")),
        "R.b",
    ),
    "another type": (record(field("a", "string")), record(field("a", "long")), "was long and is string"),
    "a narrower number": (record(field("a", "int")), record(field("a", "long")), "was long and is int"),
    "null forbidden": (
        record(field("a", "long")),
        record(field("a", ["null", "long"])),
        "was null and is long",
    ),
    "a branch dropped": (
        record(field("a", ["null", "long"])),
        record(field("a", ["null", "string"])),
        "string",
    ),
    "a word dropped": (enum("a"), enum("a", "b"), "no longer knows b"),
    "another meaning": (record(field("a", MICROS)), record(field("a", "long")), "means logicalType"),
    "another name": (record(name="S"), record(name="R"), "was R and is S"),
    "deep inside": (
        record(field("a", {"type": "array", "items": {"type": "map", "values": "string"}})),
        record(field("a", {"type": "array", "items": {"type": "map", "values": "long"}})),
        r"R\.a\[\]\{\}: was long and is string",
    ),
    "another size": (
        {"type": "fixed", "name": "F", "size": 3},
        {"type": "fixed", "name": "F", "size": 2},
        "had 2 bytes and has 3",
    ),
}


@pytest.mark.parametrize("case", FINE)
def test_these_changes_break_nothing(case):
    reader, writer = FINE[case]
    assert breaks(reader, writer) == []


@pytest.mark.parametrize("case", BROKEN)
def test_these_changes_are_caught(case):
    reader, writer, said = BROKEN[case]
    (fault,) = breaks(reader, writer)
    assert re.search(said, fault)


def test_an_older_reader_may_lack_what_nobody_has_used_yet():
    older, newer = (
        record(field("a", ["null", enum("x")])),
        record(field("a", ["null", enum("x", "y"), "string"])),
    )
    assert len(breaks(older, newer)) == 2
    assert breaks(older, newer, new_branches=True) == []
