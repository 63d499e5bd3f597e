"""Topics of other programs: as a source and as a sink, and what a stock consumer reads."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from nvisy.errors import Refused
from nvisy.runtime.supervisor import StageFailed
from nvisy.topics.log import Append, Seat
from nvisy.topics.partitioner import partition_of
from tests.flow.pipeline import Pipeline, edges


def produce(
    pipeline: Pipeline,
    topic: str,
    events: dict[str, dict[str, Any] | None],
    partitions: int = 3,
    *,
    compacted: bool = True,
) -> None:
    """What another program does: one JSON record per document, a null to delete one."""
    log = pipeline.settings.open_log()
    log.create(topic, partitions, compacted=compacted)
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


def test_a_topic_that_was_made_anew_is_refused_until_it_is_adopted(
    pipeline: Pipeline, unique_name: str
) -> None:
    topic = f"{unique_name}-articles"
    reading(pipeline, topic)
    produce(pipeline, topic, {"1": {"body": "one"}, "2": {"body": "two"}, "3": {"body": "three"}})
    pipeline.run()
    log = pipeline.settings.open_log()
    log.delete(topic)
    log.close()
    produce(pipeline, topic, {"2": {"body": "second"}, "4": {"body": "four"}})
    with pytest.raises(StageFailed, match="--adopt") as refused:
        pipeline.run()
    assert refused.value.exit_code == Refused.exit_code
    assert pipeline.run(adopt=True).state == "completed"
    assert {hit.key: hit.text for hit in pipeline.records()} == {"2": "second", "4": "four"}
    assert pipeline.run().written == 0


@pytest.mark.kafka
def test_a_key_that_moves_to_an_added_partition_is_newer_there(
    on_kafka: Pipeline, kafka_url: str, unique_name: str
) -> None:
    topic = f"{unique_name}-articles"
    reading(on_kafka, topic)
    keys = [str(number) for number in range(20)]
    produce(on_kafka, topic, {key: {"body": f"old {key}"} for key in keys}, partitions=1)
    produce(on_kafka, topic, {"0": {"body": "older and further on"}}, partitions=1)
    on_kafka.run()
    admin = AdminClient({"bootstrap.servers": kafka_url.removeprefix("kafka://")})
    for future in admin.create_partitions([NewPartitions(topic, 4)]).values():
        future.result(10)
    produce(on_kafka, topic, {key: {"body": f"new {key}"} for key in keys}, partitions=4)
    on_kafka.run()
    assert {hit.key: hit.text for hit in on_kafka.records()} == {key: f"new {key}" for key in keys}


@pytest.mark.kafka
def test_records_that_expired_before_they_were_read_are_a_gap(
    on_kafka: Pipeline, kafka_url: str, unique_name: str
) -> None:
    topic = f"{unique_name}-articles"
    reading(on_kafka, topic)
    produce(on_kafka, topic, {"1": {"body": "one"}, "2": {"body": "two"}}, partitions=1, compacted=False)
    on_kafka.run()
    produce(on_kafka, topic, {"1": {"body": "never seen"}, "3": {"body": "three"}}, 1, compacted=False)
    admin = AdminClient({"bootstrap.servers": kafka_url.removeprefix("kafka://")})
    for future in admin.delete_records([KafkaPartition(topic, 0, 4)]).values():
        future.result(10)
    with pytest.raises(StageFailed, match="gap") as refused:
        on_kafka.run()
    assert refused.value.exit_code == Refused.exit_code
    assert on_kafka.run(adopt=True).state == "completed"
    found = {hit.key: hit.text for hit in on_kafka.records()}
    assert found == {"1": "one", "2": "two", "3": "three"}, "what expired is no reason to remove anything"
