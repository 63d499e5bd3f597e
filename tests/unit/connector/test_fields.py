from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, JsonValue

from nvisy.connector.fields import fields_in, fields_of
from nvisy.connector.shape import Shape
from nvisy.expressions import FieldType, compile  # noqa: A004
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.document import Document
from nvisy.primitives.embedding import Embedding
from nvisy.primitives.primitive import Primitive


class Colour(StrEnum):
    RED = "red"


class Sample(Primitive):
    text: str = ""
    number: int = 0
    share: Annotated[float, Field(ge=0)] = 0.0
    flag: bool = False
    data: bytes = b""
    when: datetime | None = None
    maybe: str | None = None
    bounded: Annotated[int, Field(ge=0)] | None = None
    either: int | str = 0
    words: list[str]
    pair: tuple[str, ...] = ()
    numbers: list[int]
    names: dict[str, int]
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    free: JsonValue = None
    anything: Any = None
    inner: Chunk | None = None
    inners: tuple[Chunk, ...] = ()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("key", FieldType.STRING),
        ("metadata", FieldType.MAP),
        ("text", FieldType.STRING),
        ("number", FieldType.INT),
        ("share", FieldType.DOUBLE),
        ("flag", FieldType.BOOL),
        ("data", FieldType.BYTES),
        ("when", FieldType.DYN),
        ("maybe", FieldType.NULLABLE_STRING),
        ("bounded", FieldType.NULLABLE_INT),
        ("either", FieldType.DYN),
        ("words", FieldType.STRINGS),
        ("pair", FieldType.STRINGS),
        ("numbers", FieldType.LIST),
        ("names", FieldType.MAP),
        ("kind", FieldType.STRING),
        ("colour", FieldType.STRING),
        ("free", FieldType.DYN),
        ("anything", FieldType.DYN),
    ],
)
def test_a_field_has_the_type_that_its_annotation_says(name, kind):
    assert fields_of(Sample)[name] is kind


@pytest.mark.parametrize("name", ["inner", "inners", "provenance", "steps"])
def test_what_no_expression_can_use_is_not_declared(name):
    assert name not in fields_of(Sample)


def test_a_vector_is_not_declared():
    assert "vector" not in fields_of(Embedding)
    assert {"text", "model", "dimensions"} <= set(fields_of(Embedding))


def test_expressions_read_the_fields_from_a_primitive():
    document = Document(text="hello", metadata={"lang": "en"})
    when = compile(
        "metadata.lang == 'en' && size(text) == 5 && key == ''", fields_of(Document), FieldType.BOOL
    )
    assert when(document) is True


def test_a_shape_with_fields_of_its_own_names_them() -> None:
    shape = Shape(Document, fields=(("title", FieldType.STRING),))
    assert fields_in(shape, "title + body") == {"title": FieldType.STRING}
    assert fields_in(Shape(Document), "title") == fields_of(Document)


def test_in_an_open_shape_every_name_of_the_expression_is_a_field() -> None:
    shape = Shape(Document, fields=(("key", FieldType.STRING),), open=True)
    text = "size(title) > 3 && row['a b'].x == \"other 'quoted' word\" && key != null"
    assert dict(fields_in(shape, text)) == {
        "title": FieldType.DYN,
        "row": FieldType.DYN,
        "key": FieldType.STRING,
    }
