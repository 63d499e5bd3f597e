"""Schemas that are safe to read with, and those that are not."""

import json

import pytest

from nvisy.codec.safety import MAX_SCHEMA_CHARS, readable
from nvisy.errors import CodecError


def record(*types, name="R"):
    fields = [{"name": f"f{index}", "type": each} for index, each in enumerate(types)]
    return {"type": "record", "name": name, "fields": fields}


def array(items):
    return {"type": "array", "items": items}


def nested(depth):
    schema = "long"
    for _ in range(depth):
        schema = array(schema)
    return record(schema)


@pytest.mark.parametrize(
    "schema",
    [
        record(["null", "R"]),
        record(array("R")),
        record(record({"type": "map", "values": "R"}, name="S")),
        record(record("S", name="S")),
    ],
)
def test_a_recursive_schema_is_refused(schema):
    with pytest.raises(CodecError, match="refers back to itself"):
        readable(schema)


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "fixed", "name": "F", "size": 0},
        record(name="Empty"),
        record("null", "null", name="Nothing"),
    ],
)
def test_an_array_of_nothing_is_refused(items):
    with pytest.raises(CodecError, match="take no bytes"):
        readable(record(array(items)))


@pytest.mark.parametrize("depth", [65, 10_000])
def test_a_schema_that_is_too_deep_is_refused(depth):
    with pytest.raises(CodecError, match=r"levels deep|not an Avro schema"):
        readable(
            nested(depth) if depth < 100 else '{"type":"array","items":' * depth + '"long"' + "}" * depth
        )


def test_a_schema_that_is_too_long_is_refused():
    with pytest.raises(CodecError, match="is longer than"):
        readable(json.dumps(record("long")) + " " * MAX_SCHEMA_CHARS)


@pytest.mark.parametrize(
    "schema", ["", "{", "[]x", "5", "null", '{"type":"nonsense"}', '{"type":"record"}', '"Unknown"']
)
def test_what_is_no_schema_is_refused(schema):
    with pytest.raises(CodecError):
        readable(schema)


def test_a_name_used_twice_in_a_row_of_names_takes_no_time():
    schema = "long"
    for index in range(20):
        name = f"R{index}"
        schema = record(schema, *([] if index == 0 else [f"R{index - 1}"]), name=name)
    assert readable(schema)


def test_a_sound_schema_passes():
    assert readable(
        record("long", array(record("string", name="S")), ["null", "S"], {"type": "map", "values": "null"})
    )
