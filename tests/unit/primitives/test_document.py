"""A document: raw bytes, then text."""

from nvisy.primitives import Document


def test_raw_bytes_and_text_are_different_content():
    hashes = {Document(content=b"x").content_hash, Document(text="x").content_hash, Document().content_hash}
    assert len(hashes) == 3


def test_title_and_language_do_not_change_what_it_says():
    assert Document(text="x", title="T", language="en").content_hash == Document(text="x").content_hash
