import pytest
from pydantic import ValidationError

from nvisy.actions.chunk import DESCRIPTOR, ChunkAction, ChunkParams
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.primitives import Chunk, Document, Embedding, Span

TEXT = "\n\n".join(
    f"Paragraph {number} says something of its own, {'at length ' * number}." for number in range(30)
)


def chunks_of(document: Document, **params: int) -> list[Chunk]:
    return list(ChunkAction(ChunkParams(**params)).each(document))


def test_chunks_say_where_they_stand_and_keep_the_metadata():
    document = Document(text=TEXT, metadata={"lang": "en"})
    chunks = chunks_of(document, size=200)
    assert len(chunks) > 10
    for ordinal, chunk in enumerate(chunks):
        assert isinstance(chunk.span, Span)
        assert chunk.text == TEXT[chunk.span.start : chunk.span.end]
        assert len(chunk.text) <= 200
        assert chunk.ordinal == ordinal
        assert chunk.metadata == {"lang": "en"}


def test_chunks_equal_ones_that_were_validated():
    for chunk in chunks_of(Document(text=TEXT), size=200, overlap=20):
        assert chunk == Chunk(text=chunk.text, span=chunk.span, ordinal=chunk.ordinal)


def test_a_blank_document_has_no_chunks():
    assert chunks_of(Document(text=" \n ")) == []


def test_overlap_has_to_be_below_size():
    with pytest.raises(ValidationError, match="overlap"):
        ChunkParams(size=10, overlap=10)


def test_raw_documents_are_refused_with_the_way_out():
    with pytest.raises(ShapeMismatch) as refused:
        DESCRIPTOR.shape(ChunkParams(), Shape(Document, raw=True), None)
    assert "extract" in refused.value.hint


def test_what_is_no_document_is_refused():
    with pytest.raises(ShapeMismatch, match=r"takes Document, and Embedding\(m@1, 8 dimensions\) comes in"):
        DESCRIPTOR.shape(ChunkParams(), Shape(Embedding, model="m@1", dimensions=8), None)


def test_documents_become_chunks(context):
    assert DESCRIPTOR.shape(ChunkParams(), Shape(Document), None) == Shape(Chunk)
    action = DESCRIPTOR.build(ChunkParams(), context)
    assert [chunk.text for chunk in action.each(Document(text="One."))] == ["One."]
    action.close()
    action.close()
