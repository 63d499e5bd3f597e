"""Avro schemas from annotations."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from pydantic import BaseModel, Field

from nvisy.codec.derive import primitive_record
from nvisy.errors import CodecError
from nvisy.primitives import BUILTIN, Embedding, Primitive
from tests.unit.codec.samples import Invoice


def fields(cls):
    return {field["name"]: field for field in primitive_record(cls).schema["fields"]}


@pytest.mark.parametrize("cls", BUILTIN, ids=lambda cls: cls.type)
def test_every_record_says_its_type_and_every_field_what_it_is(cls):
    schema = primitive_record(cls).schema
    assert (schema["namespace"], schema["name"]) == ("ai.nvisy", cls.type)
    assert schema["fields"][0]["name"] == "type"
    assert schema["fields"][0]["default"] == cls.type
    assert schema["doc"]
    assert [field["name"] for field in schema["fields"] if "doc" not in field] == []


def test_nested_records_say_their_type_too():
    line = fields(Invoice)["lines"]["type"]["items"]
    assert line["fields"][0] == {
        "name": "type",
        "type": "string",
        "default": "Line",
        "doc": "Name of this record.",
    }
    assert line["namespace"] == "ai.nvisy.invoice"


def test_a_vector_is_little_endian_float32_bytes():
    assert fields(Embedding)["vector"]["type"] == {"type": "bytes", "nvisy.dtype": "f32le"}


def test_types_are_those_that_stock_tools_know():
    invoice = fields(Invoice)
    assert invoice["issued"]["type"] == {"type": "long", "logicalType": "timestamp-micros"}
    assert invoice["due"]["type"] == ["null", {"type": "int", "logicalType": "date"}]
    assert invoice["total"]["type"] == {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": 38,
        "scale": 18,
    }
    assert invoice["currency"]["type"]["symbols"] == ["EUR", "USD"]
    assert invoice["state"]["type"]["symbols"] == ["open", "paid"]
    assert invoice["either"]["type"] == ["null", "long", "string"]
    line = invoice["lines"]["type"]["items"]["fields"]
    assert line[2]["type"] == {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}


def test_defaults_and_sentences_are_those_of_the_class():
    invoice = fields(Invoice)
    assert (invoice["currency"]["default"], invoice["scan"]["default"], invoice["lines"]["default"]) == (
        "EUR",
        "ÿ",
        [],
    )
    assert invoice["raw"]["default"] == "null"
    assert "default" not in invoice["number"]
    assert invoice["total"]["doc"] == "With tax, in the invoice's currency."


class Tree(BaseModel):
    children: list["Tree"] = []


@pytest.mark.parametrize(
    ("annotation", "said"),
    [
        (Any, "cannot travel; use str, int"),
        (object, "cannot travel"),
        (set[str], "cannot travel"),
        (complex, "cannot travel"),
        (dict[int, str], "keys of a dict that travels are strings"),
        (tuple[int, str], r"only tuple\[X, \.\.\.\]"),
        (Tree, "contains itself"),
        (int | bytes | Tree, "contains itself|cannot travel"),
        (list[str] | list[int], "one of them and None can"),
    ],
)
def test_what_no_schema_can_express_is_refused_with_its_field(annotation, said):
    cls = type("Odd", (Primitive,), {"__annotations__": {"field": annotation}, "__module__": "mine"})
    with pytest.raises(CodecError, match=said):
        primitive_record(cls)


@pytest.mark.parametrize("name", ["type", "größe"])
def test_a_field_name_that_the_wire_has_no_room_for_is_refused(name):
    class Odd(BaseModel):
        pass

    inner = type("Inner", (BaseModel,), {"__annotations__": {name: int}, "__module__": "mine"})
    cls = type("Outer", (Primitive,), {"__annotations__": {"inner": inner}, "__module__": "mine"})
    with pytest.raises(CodecError, match=f"mine.Inner.{name}"):
        primitive_record(cls)


def test_two_models_of_one_name_in_one_primitive_are_refused():
    one, other = (
        type("Part", (BaseModel,), {"__annotations__": {"a": kind}, "__module__": module})
        for kind, module in ((int, "first"), (str, "second"))
    )
    cls = type("Whole", (Primitive,), {"__annotations__": {"a": one, "b": other}, "__module__": "mine"})
    with pytest.raises(CodecError, match=r"first\.Part and second\.Part would both be called"):
        primitive_record(cls)


def test_what_a_factory_makes_anew_in_every_process_is_no_part_of_the_schema():
    class Stamped(Primitive):
        at: datetime = Field(default_factory=lambda: datetime.now(UTC))
        lines: list[str] = Field(default_factory=list)

    assert "default" not in fields(Stamped)["at"]
    assert fields(Stamped)["lines"]["default"] == []


@pytest.mark.parametrize(
    ("annotation", "default", "said"),
    [
        (int, None, r"write `X \| None`"),
        (datetime, None, "not of the field's type"),
        (date, "today", "not of the field's"),
    ],
)
def test_a_default_of_another_type_is_refused(annotation, default, said):
    cls = type(
        "Odd",
        (Primitive,),
        {"__annotations__": {"field": annotation}, "field": default, "__module__": "mine"},
    )
    with pytest.raises(CodecError, match=said):
        primitive_record(cls)
