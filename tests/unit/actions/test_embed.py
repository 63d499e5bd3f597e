import numpy as np
import pytest

from nvisy.actions.embed import DESCRIPTOR, EmbedAction, EmbedParams
from nvisy.connector.model import Embedded
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Fatal, Rejected, Transient
from nvisy.models.hash import HashModel
from nvisy.primitives import Chunk, Document, Embedding, ImagePayload, Span
from tests.unit.actions.fakes import RecordingModel, facts


def chunk(text: str, start: int = 0) -> Chunk:
    return Chunk(text=text, span=Span(start, start + len(text)), metadata={"from": start})


def embed(model, **params) -> EmbedAction:
    return EmbedAction(model, "test/recording@7", None, **params)


def test_each_text_comes_back_as_its_embedding(model):
    items = [chunk("one"), chunk("two", 5)]
    made = embed(model).batch(items)
    expected = HashModel(8).embed(["one", "two"]).vectors
    for item, embedding, vector in zip(items, made, expected, strict=True):
        assert embedding == Embedding(
            vector=vector, model="test/recording@7", text=item.text, span=item.span, metadata=item.metadata
        )
        assert not embedding.vector.flags.writeable


def test_a_whole_document_is_embedded_with_the_span_of_its_text(model):
    (made,) = embed(model).batch([Document(text="a whole page", metadata={"n": 1})])
    assert (made.text, made.span, made.metadata) == ("a whole page", Span(0, 12), {"n": 1})


def test_equal_texts_are_asked_for_once_and_counted_once(model):
    action = embed(model)
    made = action.batch([chunk("same"), chunk("other"), chunk("same", 9)])
    assert model.asked == [["same", "other"]]
    assert np.array_equal(made[0].vector, made[2].vector)
    assert made[2].span == Span(9, 13)
    assert (action.calls, action.model_calls, action.cache_hits) == (1, 2, 0)
    assert (action.tokens, action.cost_usd) == (2, 0.5)


def test_no_call_is_larger_than_the_model_or_the_graph_allows(model):
    texts = [chunk(f"text {number}") for number in range(10)]
    assert embed(model).max_batch == 4
    assert embed(model, batch_size=100).max_batch == 4
    small = embed(model, batch_size=3)
    assert small.max_batch == 3
    assert len(small.batch(texts)) == 10
    assert [len(asked) for asked in model.asked] == [3, 3, 3, 1]


def test_a_rejected_batch_is_split_down_to_the_text_at_fault(model):
    action = embed(model)
    made = action.batch([chunk("a"), chunk("b"), chunk("bad one"), chunk("c")])
    assert [isinstance(each, Rejected) for each in made] == [False, False, True, False]
    assert [each.text for each in made if isinstance(each, Embedding)] == ["a", "b", "c"]
    assert action.model_calls == 3


def test_numbers_that_are_not_finite_reject_their_own_text(model):
    made = embed(model).batch([chunk("fine"), chunk("nan")])
    assert isinstance(made[0], Embedding)
    assert isinstance(made[1], Rejected)
    assert "finite" in str(made[1])


def test_a_document_without_text_is_rejected_with_the_way_out(model):
    made = embed(model).batch([Document(text=""), Document(text="x")])
    assert isinstance(made[0], Rejected)
    assert made[0].kind == "empty"
    assert "filter" in str(made[0])
    assert isinstance(made[1], Embedding)


@pytest.mark.parametrize("shape", [(1, 9), (2, 8), (8,)])
def test_vectors_of_another_shape_stop_the_run(model, shape):
    model.embed = lambda _texts: Embedded(np.ones(shape, np.float32))
    with pytest.raises(Fatal, match="shape"):
        embed(model).batch([chunk("a")])


def test_a_transient_failure_is_the_runtimes_to_retry(model):
    def busy(_texts):
        raise Transient("busy")

    model.embed = busy
    with pytest.raises(Transient):
        embed(model).batch([chunk("a")])


def test_the_cache_serves_a_second_run_and_counts_it(context, model):
    items = [chunk("one"), chunk("two"), chunk("bad")]
    first = DESCRIPTOR.build(EmbedParams(model="test/recording"), context)
    made = first.batch(items)
    first.close()
    asked = len(model.asked)
    second = DESCRIPTOR.build(EmbedParams(model="test/recording"), context)
    again = second.batch(items)
    assert model.asked[asked:] == [["bad"]]
    assert again[:2] == made[:2]
    assert isinstance(again[2], Rejected)
    assert (second.model_calls, second.cache_hits) == (0, 2)
    second.close()
    second.close()


@pytest.mark.parametrize(("cached", "asked_for"), [(False, True), (True, False)])
def test_nothing_is_cached_where_the_model_is_cheaper_or_the_graph_says_no(context, cached, asked_for):
    model = RecordingModel(cached=cached)
    object.__setattr__(context, "models", lambda _name, _params: model)
    for _ in range(2):
        action = DESCRIPTOR.build(EmbedParams(model="test/recording", cache=asked_for), context)
        action.batch([chunk("one")])
        action.close()
    assert model.asked == [["one"], ["one"]]
    assert not context.state.exists()


def test_the_shape_names_the_model_its_revision_and_the_dimensions():
    for primitive in (Chunk, Document):
        shape = DESCRIPTOR.shape(EmbedParams(model="m", dimensions=16), Shape(primitive), facts)
        assert shape == Shape(Embedding, model="m@7", dimensions=16)


def test_raw_documents_and_pictures_are_refused():
    for incoming in (Shape(Document, raw=True), Shape(ImagePayload)):
        with pytest.raises(ShapeMismatch):
            DESCRIPTOR.shape(EmbedParams(model="m"), incoming, facts)


def test_the_batch_size_is_written_as_in_a_graph():
    assert EmbedParams.model_validate({"model": "m", "batchSize": 32}).batch_size == 32
