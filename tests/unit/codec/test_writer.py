"""Bytes written by functions that were made from a schema: the same as fastavro's, or none."""

from io import BytesIO

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nvisy.codec.change_record import CHANGE, change_schema, head_of
from nvisy.codec.items import Items
from nvisy.codec.reading import Reading, written
from nvisy.codec.writer import writer
from nvisy.primitives import Change, PrimitiveTypes
from tests.unit.codec.samples import INVOICE, Invoice, origins, primitives

TYPES = PrimitiveTypes([Invoice])
SCHEMA, RECORDS = change_schema(TYPES)
READING = Reading.of(SCHEMA)
ITEMS = Items(zip(RECORDS, TYPES.values(), strict=True))


def ours(schema, value):
    pieces = []
    writer(fastavro.parse_schema(schema))(pieces.append, value)
    return b"".join(pieces)


def theirs(schema, value):
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


@given(origins, st.lists(st.one_of(primitives, st.just(INVOICE)), max_size=3))
def test_a_change_is_written_as_fastavro_writes_it(origin, items):
    datum = head_of(Change(origin), 1) | {"items": [ITEMS.pack(item) for item in items]}
    pieces = []
    assert READING.write is not None
    READING.write(pieces.append, (CHANGE, datum))
    out = BytesIO()
    fastavro.schemaless_writer(out, READING.parsed, (CHANGE, datum))
    assert b"".join(pieces) == out.getvalue()


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_integer_of_64_bits_is(number):
    assert ours("long", number) == theirs("long", number)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "fixed", "name": "F", "size": 2}, b"ab"),
        ({"type": "enum", "name": "E", "symbols": ["a", "b"]}, "b"),
        ({"type": "array", "items": "float"}, [0.5, -2.0]),
        ({"type": "map", "values": ["null", "boolean", "double"]}, {"a": None, "b": True, "c": 1.5}),
        (["null", {"type": "array", "items": "string"}], ["x"]),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int", "default": 7}]}, {}),
    ],
)
def test_so_is_every_kind_of_schema(schema, value):
    assert ours(schema, value) == theirs(schema, value)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("long", 2**63),
        ("long", 1.5),
        ("long", True),
        ("null", 0),
        ("string", b"x"),
        ("bytes", "x"),
        (["null", "double"], 1),
        ({"type": "fixed", "name": "F", "size": 2}, b"a"),
        ({"type": "enum", "name": "E", "symbols": ["a"]}, "b"),
        ({"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}]}, {}),
    ],
)
def test_what_is_not_beyond_doubt_is_not_written(schema, value):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        ours(schema, value)


def test_of_that_fastavro_decides():
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": ["null", "double"]}]}
    assert written(b"head", Reading.of(schema), {"a": 1}) == b"head" + theirs(schema, {"a": 1.0})
