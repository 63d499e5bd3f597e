"""Topics of other programs: as a source and as a sink, and what a stock consumer reads."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from nvisy.topics.log import Append, Seat
from nvisy.topics.partitioner import partition_of
from tests.flow.pipeline import Pipeline, edges


def produce(
    pipeline: Pipeline, topic: str, events: dict[str, dict[str, Any] | None], partitions: int = 3
) -> None:
    """What another program does: one JSON record per document, a null to delete one."""
    log = pipeline.settings.open_log()
    log.create(topic, partitions)
    session = log.session(Seat("producer", topic, "1", (), (topic,)))
    session.append(
        [
            Append(
                topic,
                partition_of(key.encode(), partitions),
                key.encode(),
                None if value is None else orjson.dumps(value),
            )
            for key, value in events.items()
        ]
    )
    session.commit({})
    session.close()
    log.close()


def reading(pipeline: Pipeline, topic: str, **params: Any) -> None:
    pipeline.graph["nodes"] = [
        {
            "id": "articles",
            "type": "source",
            "provider": "topic",
            "params": {"topic": topic, "text": "body", **params},
        },
        *pipeline.graph["nodes"][2:],
    ]
    pipeline.graph["edges"] = edges("articles>chunk", "chunk>embed", "embed>index")


def test_records_of_a_topic_become_vectors_and_a_null_deletes_them(
    pipeline: Pipeline, unique_name: str
) -> None:
    topic = f"{unique_name}-articles"
    reading(pipeline, topic)
    produce(pipeline, topic, {"1": {"body": "one river", "lang": "en"}, "2": {"body": "two stones"}})
    assert pipeline.run().state == "completed"
    assert {hit.key: (hit.text, hit.metadata.get("lang")) for hit in pipeline.records()} == {
        "1": ("one river", "en"),
        "2": ("two stones", None),
    }
    produce(pipeline, topic, {"1": {"body": "one wider river"}, "2": None})
    report = pipeline.run()
    assert {hit.key: hit.text for hit in pipeline.records()} == {"1": "one wider river"}
    assert (report.written, report.removed) == (1, 2)
    again = pipeline.run()
    assert (again.written, again.nodes["chunk"]["in"]) == (0, 0)


def test_a_record_that_is_no_json_is_a_dead_letter_until_its_key_is_mended(
    pipeline: Pipeline, unique_name: str
) -> None:
    topic = f"{unique_name}-articles"
    reading(pipeline, topic, key="id")
    produce(pipeline, topic, {"a": {"id": 7, "body": "seven"}, "b": {"body": "no id"}})
    report = pipeline.run()
    assert (report.state, report.dead_letters) == ("degraded", 1)
    assert pipeline.keys() == {"7"}
    (letter,) = pipeline.dead_letters()
    assert (letter.kind, orjson.loads(letter.original)) == ("no_key", {"body": "no id"})


@pytest.mark.parametrize("form", ["json", "avro"])
def test_a_topic_as_a_sink_has_one_event_per_primitive(
    pipeline: Pipeline, unique_name: str, form: str
) -> None:
    topic = f"{unique_name}-chunks"
    pipeline.graph["nodes"] = [
        *pipeline.graph["nodes"][:3],
        {"id": "out", "type": "sink", "provider": "topic", "params": {"topic": topic, "format": form}},
    ]
    pipeline.graph["edges"] = edges("files>text", "text>chunk", "chunk>out")
    pipeline.write({"a.md": "one river", "b.md": "two stones"})
    log = pipeline.settings.open_log()
    assert pipeline.run().state == "completed"
    records = list(log.scan(topic))
    assert sorted((record.key or b"") for record in records if record.value is None) == [b"a.md", b"b.md"]
    events = {record.key: record.value for record in records if record.value is not None}
    if form == "json":
        assert orjson.loads(events[b"a.md"] or b"")["text"] == "one river"
    else:
        assert (events[b"a.md"] or b"").startswith(b"\x00")
    (pipeline.docs / "a.md").unlink()
    pipeline.run()
    last = [record for record in log.scan(topic) if record.key == b"a.md"][-1]
    assert last.value is None
    log.close()
