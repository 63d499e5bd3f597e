"""What a topic of other programs may hold: nothing that stands in it ends a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nvisy.codec.codec import Codec
from nvisy.codec.file_registry import FileRegistry
from nvisy.errors import Rejected
from nvisy.primitives import Chunk, Document
from nvisy.runtime.foreign import ForeignDecoder
from nvisy.runtime.numbering import Numbering
from nvisy.topics.connector import TopicSourceParams
from nvisy.topics.log import LogRecord, TopicInfo

NUMBERING = Numbering.begun(TopicInfo("articles", "id", 1, {}, {}), 1)


def decoded(folder: Path, value: bytes | None, key: bytes | None = b"k", **params: Any) -> Document:
    codec = Codec(FileRegistry(folder))
    typed = TopicSourceParams(topic="articles", **params)
    decoder = ForeignDecoder("articles", typed, codec, NUMBERING, graph="g", run="r", partitions=4)
    (item,) = decoder.decode(LogRecord("articles", 0, 7, key, value, (), 0)).items
    assert isinstance(item, Document)
    return item


def test_the_fields_of_a_record_become_text_and_metadata(tmp_path: Path) -> None:
    document = decoded(tmp_path, b'{"text": "hello", "lang": "en", "tags": ["a"], "at": {"x": 1}}')
    assert (document.text, document.metadata) == ("hello", {"lang": "en", "tags": ["a"], "at": '{"x":1}'})


def test_an_integer_beyond_64_bits_becomes_text(tmp_path: Path) -> None:
    document = decoded(tmp_path, b'{"text": "hello", "n": 18446744073709551615}')
    assert document.metadata == {"n": "18446744073709551615"}


@pytest.mark.parametrize(
    ("value", "params"),
    [
        (b"garbage", {"format": "avro"}),
        (b"garbage", {"format": "avro", "primitive": "Chunk"}),
        (b"{", {}),
        (b"[]", {}),
        (b'{"text": 1}', {}),
        (b'{"text": "x", "": 1}', {}),
        (b'{"text": "x", "deep": ' + b'{"a":' * 300 + b"1" + b"}" * 301, {}),
    ],
)
def test_a_record_that_cannot_be_read_is_rejected_and_ends_nothing(
    tmp_path: Path, value: bytes, params: dict[str, Any]
) -> None:
    with pytest.raises(Rejected):
        decoded(tmp_path, value, **params)


def test_a_schema_without_the_text_is_no_reason_to_empty_the_document(tmp_path: Path) -> None:
    value = Codec(FileRegistry(tmp_path)).encode_primitive(Chunk(text="hello"), "articles")
    assert decoded(tmp_path, value, format="avro").text == "hello"
    with pytest.raises(Rejected, match="has no field 'body'"):
        decoded(tmp_path, value, format="avro", text="body")
