import pytest
from pydantic import JsonValue, ValidationError

from nvisy.actions.map import DESCRIPTOR, MapParams
from nvisy.connector.descriptor import Context
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Rejected
from nvisy.models.hash import DESCRIPTOR as HASH
from nvisy.primitives import Chunk, Document, Embedding, Provenance, Span


def mapped(item, **params):
    context = Context(None, None, None, Shape(type(item)))
    (made,) = DESCRIPTOR.build(MapParams(**params), context).each(item)
    return made


def test_text_and_metadata_are_computed():
    document = Document(text=" a ", metadata={"n": 2, "kept": True}, provenance=Provenance("s", "k"))
    made = mapped(document, text="text.trim() + '!'", metadata={"name": "key", "n": "metadata.n + 1"})
    assert made == Document(text="a!", metadata={"name": "k", "n": 3, "kept": True})


def test_a_document_keeps_its_title_and_language():
    made = mapped(Document(text="a", title="T", language="en"), text="title + text")
    assert (made.text, made.title, made.language) == ("Ta", "T", "en")


def test_a_chunk_keeps_its_span_while_its_text_is_the_same():
    chunk = Chunk(text="abc", span=Span(5, 8), ordinal=3)
    same = mapped(chunk, primitive="Chunk", metadata={"size": "size(text)"})
    assert (same.span, same.ordinal, same.metadata) == (Span(5, 8), 3, {"size": 3})
    assert mapped(chunk, primitive="Chunk", text="text + '.'").span is None


def test_a_chunk_becomes_a_document():
    assert mapped(Chunk(text="abc"), text="text") == Document(text="abc")


def test_a_list_of_strings_is_a_value_of_metadata_and_a_map_is_not():
    assert mapped(Document(text="a b"), metadata={"words": "text.split(' ')"}).metadata == {
        "words": ["a", "b"]
    }
    with pytest.raises(Rejected, match="metadata") as rejected:
        mapped(Document(text="a"), metadata={"m": "{'a': 1}"})
    assert rejected.value.kind == "expression"


VECTORS = {"primitive": "Embedding", "vector": "row['v']", "model": "local/hash", "dimensions": 8}


class Row(Document):
    row: dict[str, JsonValue]


def test_a_vector_that_is_there_already_becomes_an_embedding():
    params = MapParams(text="text", **VECTORS)
    shape = DESCRIPTOR.shape(params, Shape(Row), lambda name, given: (f"{name}@1", given["dimensions"]))
    assert (shape.primitive, shape.model, shape.dimensions) == (Embedding, "local/hash@1", 8)
    opened = HASH.open(HASH.params(dimensions=8))
    action = DESCRIPTOR.build(params, Context(None, None, lambda _name, _params: opened, Shape(Row)))
    (made,) = action.each(Row(text="a", row={"v": [1, 0.5, *[2] * 6]}))
    assert made == Embedding(vector=[1, 0.5, *[2] * 6], text="a", model=f"local/hash@{opened.revision}")
    for wrong in ([1.0, 2.0], ["a"] * 8, None):
        with pytest.raises(Rejected):
            list(action.each(Row(text="a", row={"v": wrong})))


@pytest.mark.parametrize("without", ["vector", "model"])
def test_an_embedding_needs_its_vector_and_its_model(without):
    with pytest.raises(ValidationError, match="needs a"):
        MapParams(**{name: value for name, value in VECTORS.items() if name != without})
    with pytest.raises(ValidationError, match="is for a map"):
        MapParams(**{without: VECTORS[without]})


def test_a_chunk_without_text_is_rejected():
    with pytest.raises(Rejected, match="text"):
        mapped(Document(text=""), primitive="Chunk")


def test_an_expression_that_does_not_compile_is_refused_with_its_place():
    params = MapParams(text="text", metadata={"a": "1", "b/c": "tetx"})
    with pytest.raises(ShapeMismatch, match=r"column 1.*tetx") as refused:
        DESCRIPTOR.shape(params, Shape(Document), None)
    assert refused.value.param == "/metadata/b~1c"
    with pytest.raises(ShapeMismatch) as refused:
        DESCRIPTOR.shape(MapParams(text="size(text)"), Shape(Document), None)
    assert refused.value.param == "/text"


def test_documents_that_are_bytes_are_refused():
    with pytest.raises(ShapeMismatch) as refused:
        DESCRIPTOR.shape(MapParams(), Shape(Document, raw=True), None)
    assert "extract" in refused.value.hint


def test_the_shape_is_what_it_makes():
    assert DESCRIPTOR.shape(MapParams(), Shape(Embedding, model="m@1", dimensions=8), None) == Shape(Document)
    assert DESCRIPTOR.shape(MapParams(primitive="Chunk"), Shape(Document), None) == Shape(Chunk)


def test_only_documents_and_chunks_can_be_made():
    with pytest.raises(ValidationError):
        MapParams(primitive="Completion")
