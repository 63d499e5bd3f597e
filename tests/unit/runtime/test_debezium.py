"""Change events of Debezium's: a row, a delete, or a dead letter; a placeholder is never a value."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import fastavro
import orjson
import pytest

from nvisy.codec.codec import Codec
from nvisy.codec.file_registry import FileRegistry
from nvisy.codec.framing import frame
from nvisy.errors import Rejected
from nvisy.primitives import Document
from nvisy.primitives.change import Change
from nvisy.runtime.debezium import UNAVAILABLE
from nvisy.runtime.foreign import ForeignDecoder
from nvisy.runtime.numbering import Numbering
from nvisy.topics.connector import TopicSourceParams
from nvisy.topics.log import LogRecord, TopicInfo

NUMBERING = Numbering.begun(TopicInfo("shop.public.articles", "id", 1, {}, {}), 1)
ROW = {"id": 7, "title": "T", "text": "hello"}
SOURCE = {"connector": "postgresql", "table": "articles"}


def decoded(folder: Path, value: Any, key: Any = {"id": 7}) -> Change:  # noqa: B006 - never changed
    params = TopicSourceParams(topic="shop.public.articles", envelope="debezium")
    codec = Codec(FileRegistry(folder))
    decoder = ForeignDecoder("articles", params, codec, NUMBERING, graph="g", run="r", partitions=4)
    raw = None if value is None else orjson.dumps(value)
    return decoder.decode(LogRecord("shop.public.articles", 0, 7, orjson.dumps(key), raw, (), 0))


def with_schema(payload: Any) -> dict[str, Any]:
    return {"schema": {"type": "struct"}, "payload": payload}


def event(op: str, before: Any = None, after: Any = None) -> dict[str, Any]:
    return {"before": before, "after": after, "source": SOURCE, "op": op, "ts_ms": 1}


@pytest.mark.parametrize("op", ["c", "u", "r"])
@pytest.mark.parametrize("wrap", [dict, with_schema])
def test_an_event_is_the_row_after_it(tmp_path: Path, op: str, wrap: Any) -> None:
    change = decoded(tmp_path, wrap(event(op, after=ROW)), wrap({"id": 7}))
    (document,) = change.items
    assert isinstance(document, Document)
    assert (change.op, change.origin.key) == ("upsert", "7")
    assert (document.text, document.metadata) == ("hello", {"id": 7, "title": "T"})


def test_a_flattened_event_is_the_row_without_what_was_added(tmp_path: Path) -> None:
    (document,) = decoded(tmp_path, {**ROW, "__op": "u", "__deleted": "false"}).items
    assert document.metadata == {"id": 7, "title": "T"}


@pytest.mark.parametrize(
    "value", [None, event("d", before=ROW), with_schema(event("d", before=ROW)), {**ROW, "__deleted": "true"}]
)
def test_a_delete_and_the_tombstone_behind_it_are_deletes(tmp_path: Path, value: Any) -> None:
    change = decoded(tmp_path, value)
    assert (change.op, change.origin.key, change.items) == ("delete", "7", ())


def test_a_key_of_several_columns_names_one_row(tmp_path: Path) -> None:
    keys = [{"a": "x,1", "b": 2}, {"a": "x", "b": "1,2"}]
    assert [decoded(tmp_path, ROW, key).origin.key for key in keys] == ["x%2C1,2", "x,1%2C2"]


@pytest.mark.parametrize("placeholder", UNAVAILABLE)
def test_a_value_that_was_left_alone_comes_from_the_row_before_or_is_refused(
    tmp_path: Path, placeholder: str
) -> None:
    after = {**ROW, "text": placeholder}
    (document,) = decoded(tmp_path, event("u", before=ROW, after=after)).items
    assert isinstance(document, Document)
    assert document.text == "hello"
    for value in (event("u", after=after), after):
        with pytest.raises(Rejected, match="REPLICA IDENTITY FULL") as refused:
            decoded(tmp_path, value)
        assert refused.value.kind == "unavailable"


@pytest.mark.parametrize("op", ["t", "m"])
def test_an_event_about_no_row_is_refused(tmp_path: Path, op: str) -> None:
    with pytest.raises(Rejected, match="is about no row"):
        decoded(tmp_path, event(op))


def test_a_key_without_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Rejected, match="primary key"):
        decoded(tmp_path, ROW, {})


KEY_SCHEMA = {
    "type": "record",
    "name": "Key",
    "namespace": "shop.public.articles",
    "fields": [{"name": "id", "type": "int"}],
}
ROW_SCHEMA = {
    "type": "record",
    "name": "Value",
    "fields": [{"name": "id", "type": "int"}, {"name": "text", "type": ["null", "string"], "default": None}],
}
EVENT_SCHEMA = {
    "type": "record",
    "name": "Envelope",
    "namespace": "shop.public.articles",
    "fields": [
        {"name": "before", "type": ["null", ROW_SCHEMA], "default": None},
        {"name": "after", "type": ["null", "Value"], "default": None},
        {"name": "op", "type": "string"},
    ],
}


def test_events_and_keys_in_avro_are_read_alike(tmp_path: Path) -> None:
    registry = FileRegistry(tmp_path)

    def written(subject: str, schema: dict[str, Any], value: dict[str, Any]) -> bytes:
        out = io.BytesIO(frame(registry.register(subject, json.dumps(schema))))
        out.seek(0, io.SEEK_END)
        fastavro.schemaless_writer(out, schema, value)
        return out.getvalue()

    params = TopicSourceParams(topic="shop.public.articles", envelope="debezium", format="avro")
    decoder = ForeignDecoder("articles", params, Codec(registry), NUMBERING, graph="g", run="r", partitions=4)
    key = written("t-key", KEY_SCHEMA, {"id": 7})
    events = [
        {"before": None, "after": {"id": 7, "text": "hello"}, "op": "c"},
        {"before": {"id": 7}, "after": None, "op": "d"},
    ]
    values = [written("t-value", EVENT_SCHEMA, value) for value in events]
    upsert, delete, tombstone = (
        decoder.decode(LogRecord("shop.public.articles", 0, 7, key, value, (), 0))
        for value in [*values, None]
    )
    (document,) = upsert.items
    assert isinstance(document, Document)
    assert (document.text, document.metadata) == ("hello", {"id": 7})
    assert [(change.op, change.origin.key) for change in (delete, tombstone)] == [("delete", "7")] * 2
