import pytest

from nvisy.actions.extract import DESCRIPTOR, ExtractAction, ExtractParams
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Rejected
from nvisy.primitives import Chunk, Document, Provenance


def extracted(content: bytes, media_type: str, **fields) -> Document:
    action = ExtractAction(ExtractParams(text=fields.pop("field", None)))
    (made,) = action.each(Document(content=content, media_type=media_type, **fields))
    return made


def test_text_takes_the_place_of_the_bytes():
    made = extracted("# Größe\n\nText.".encode(), "text/markdown", id="raw", metadata={"path": "a.md"})
    assert "Text." in made.text
    assert made.content is None
    assert made.media_type == "text/markdown"
    assert made.content_hash == Document(text=made.text).content_hash
    assert made.metadata["path"] == "a.md"


def test_the_title_of_the_format_is_the_document_s_unless_it_has_one():
    page = b"<html><head><title>From the page</title></head><body><p>Text.</p></body></html>"
    assert extracted(page, "text/html").title == "From the page"
    assert extracted(page, "text/html", title="Mine").title == "Mine"


def test_the_source_s_metadata_wins_over_the_format_s():
    page = b"<html><head><title>From the page</title></head><body><p>Text.</p></body></html>"
    assert extracted(page, "text/html", metadata={"title": "set"}).metadata["title"] == "set"


def test_a_field_of_a_record_is_the_text():
    made = extracted(b'{"id": 1, "body": "the text", "lang": "en"}', "application/json", field="body")
    assert made.text.strip() == "the text"


def test_the_name_helps_to_guess_the_format():
    document = Document(
        content=b"a;b\n1;2\n", media_type="application/octet-stream", provenance=Provenance("files", "t.csv")
    )
    (made,) = ExtractAction(ExtractParams()).each(document)
    assert "1" in made.text


def test_a_document_that_is_text_passes_as_it_is():
    document = Document(text="text")
    assert list(ExtractAction(ExtractParams()).each(document)) == [document]


def test_bytes_that_are_no_document_are_rejected():
    with pytest.raises(Rejected):
        extracted(b"\x00\x01\x02\xff" * 100, "application/octet-stream")


def test_raw_documents_come_out_as_text_and_nothing_else_goes_in(context):
    assert DESCRIPTOR.shape(ExtractParams(), Shape(Document, raw=True), None) == Shape(Document)
    with pytest.raises(ShapeMismatch, match="takes Document, and Chunk comes in"):
        DESCRIPTOR.shape(ExtractParams(), Shape(Chunk), None)
    DESCRIPTOR.build(ExtractParams(), context).close()


def test_a_source_that_says_no_type_leaves_it_to_the_bytes_and_the_name():
    action = DESCRIPTOR.build(ExtractParams(), None)
    page = Document(content=b"<!doctype html><p>Hello.</p>", provenance=Provenance("files", "page"))
    (made,) = action.each(page)
    assert made.text == "Hello."
    with pytest.raises(Rejected) as caught:
        list(
            action.each(Document(content=b"%PDF-1.7\nlost\n", provenance=Provenance("files", "damaged.pdf")))
        )
    assert caught.value.kind == "corrupt"
