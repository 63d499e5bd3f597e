import pytest

from nvisy.actions.filter import DESCRIPTOR, FilterParams
from nvisy.connector.descriptor import Context
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Rejected
from nvisy.primitives import Chunk, Document, Provenance


def passed(when: str, item) -> list:
    context = Context(None, None, None, Shape(type(item)))
    action = DESCRIPTOR.build(FilterParams(when=when), context)
    return list(action.each(item))


def test_what_the_condition_holds_for_passes_as_it_is():
    document = Document(text="long enough", metadata={"lang": "en"}, provenance=Provenance("s", "a.md"))
    for when in ("size(text) > 5", "metadata.lang == 'en'", "key.endsWith('.md')"):
        assert passed(when, document)[0] is document
    assert passed("text.contains('absent')", document) == []


def test_a_record_without_the_field_is_rejected():
    with pytest.raises(Rejected) as rejected:
        passed("metadata.lang == 'en'", Document(text="x"))
    assert rejected.value.kind == "expression"


@pytest.mark.parametrize(
    ("when", "reason"),
    [("txt == ''", "txt"), ("text + 'a'", "bool"), ("size(text) > ", "column"), ("ordinal == 'a'", "column")],
)
def test_a_condition_that_does_not_compile_is_refused_with_its_place(when, reason):
    with pytest.raises(ShapeMismatch, match=reason) as refused:
        DESCRIPTOR.shape(FilterParams(when=when), Shape(Chunk), None)
    assert refused.value.param == "/when"


def test_what_passes_is_what_came():
    for shape in (Shape(Chunk), Shape(Document, raw=True)):
        assert DESCRIPTOR.shape(FilterParams(when="key != ''"), shape, None) == shape


def test_a_condition_on_text_that_nobody_extracted_is_refused():
    with pytest.raises(ShapeMismatch) as refused:
        DESCRIPTOR.shape(FilterParams(when="size(text) > 5"), Shape(Document, raw=True), None)
    assert "extract" in refused.value.hint
