import pytest

from nvisy.actions.deduplicate import DESCRIPTOR, DeduplicateParams
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Fatal
from nvisy.primitives import Chunk, Document, Embedding


def test_documents_and_chunks_pass_as_they_came():
    for shape in (Shape(Document), Shape(Document, raw=True), Shape(Chunk)):
        assert DESCRIPTOR.shape(DeduplicateParams(), shape, None) == shape


def test_embeddings_are_refused():
    with pytest.raises(ShapeMismatch, match="takes Document or Chunk"):
        DESCRIPTOR.shape(DeduplicateParams(), Shape(Embedding, model="m@1", dimensions=8), None)


def test_it_needs_every_partition_and_is_not_built_as_a_step(context):
    assert DESCRIPTOR.whole_stream
    with pytest.raises(Fatal):
        DESCRIPTOR.build(DeduplicateParams(), context)
