"""A consumer that knows nothing of Nvisy reads every record: Confluent's own deserializer, on a real broker."""

import uuid
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from nvisy.codec import Codec
from nvisy.codec.http_registry import HttpRegistry
from nvisy.primitives import Change, Chunk, Document, PrimitiveTypes
from tests.unit.codec.registry_double import registry_double
from tests.unit.codec.samples import EVERY, INVOICE, ORIGIN, Invoice

pytestmark = pytest.mark.kafka

ITEMS = (*EVERY, INVOICE)


@pytest.fixture
def url():
    with registry_double() as (_, url):
        yield url


@pytest.fixture
def codec(url):
    registry = HttpRegistry(url)
    yield Codec(registry, PrimitiveTypes([Invoice]))
    registry.close()


@pytest.fixture
def topic(kafka):
    name = f"codec-{uuid.uuid4().hex}"
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    settings = {"max.message.bytes": str(17 << 20)}
    admin.create_topics([NewTopic(name, 1, 1, config=settings)])[name].result(30)
    yield name
    admin.delete_topics([name])[name].result(30)


def through_the_broker(kafka, topic, values):
    """What a consumer gets of `values`, as librdkafka's messages."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 17 << 20})
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(30) == 0
    consumer = Consumer(
        {
            "bootstrap.servers": kafka.bootstrap,
            "group.id": topic,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": 20 << 20,
        }
    )
    consumer.subscribe([topic])
    messages = []
    while len(messages) < len(values):
        message = consumer.poll(30)
        assert message is not None, f"{len(messages)} of {len(values)} messages came back"
        assert message.error() is None
        messages.append(message)
    consumer.close()
    return messages


def deserialized(url, topic, messages):
    """The same messages through Confluent's deserializer, which asks the registry for what it needs."""
    with SchemaRegistryClient({"url": url}) as client:
        deserialize = AvroDeserializer(client, conf={"subject.name.strategy.type": "TOPIC"})
        context = SerializationContext(topic, MessageField.VALUE)
        return [deserialize(message.value(), context) for message in messages]


def test_a_stock_consumer_reads_the_changes_of_a_topic(kafka, topic, url, codec):
    new = replace(ORIGIN, version=None, topic="", partition=0)
    sent = [
        Change(new, items=ITEMS, fingerprint=b"f", graph="g", trace="00-ab"),
        Change(new, "delete"),
    ]
    values = [codec.encode_change(change, topic, inc=1) for change in sent]
    messages = through_the_broker(kafka, topic, values)
    change, delete = deserialized(url, topic, messages)
    assert (change["type"], delete["type"]) == ("Change", "Change")
    assert (change["source"], change["key"], change["op"]) == ("files", "guides/a b.md", "upsert")
    assert change["observed_at_us"].isoformat() == "2025-11-24T16:00:00+00:00"
    assert [item["type"] for item in change["items"]] == [item.type for item in ITEMS]
    assert (delete["op"], delete["items"]) == ("delete", [])

    read = [
        codec.decode_change(
            message.value(), topic=topic, partition=message.partition(), offset=message.offset()
        )
        for message in messages
    ]
    assert [each.origin.version for each in read] == [(1, 0), (1, 1)]
    assert read[0].items == tuple(item.replaced(provenance=read[0].origin) for item in ITEMS)


def test_a_stock_consumer_reads_every_primitive_that_travels_alone(kafka, topic, url, codec):
    sent = [item.replaced(provenance=ORIGIN) for item in ITEMS]
    values = [codec.encode_primitive(item, topic, per_type=True) for item in sent]
    messages = through_the_broker(kafka, topic, values)
    records = {record["type"]: record for record in deserialized(url, topic, messages)}
    assert list(records) == [item.type for item in ITEMS]
    for item in sent:
        record = records[item.type]
        assert record["metadata"] == item.metadata
        assert record["content_hash"] == item.content_hash
        assert (record["provenance"]["type"], record["provenance"]["off"]) == ("Provenance", 42)
    vector = np.frombuffer(records["Embedding"]["vector"], "<f4")
    assert vector.tolist() == [0.5, -1.25]
    assert records["Completion"]["cost_usd"] == Decimal("0.000012")
    assert records["Chunk"]["span"] == {"type": "Span", "start": 10, "end": 15}
    assert [call["parent"] for call in records["ToolCallTrace"]["calls"]] == [None, 0]
    assert records["Invoice"]["total"] == INVOICE.total
    assert records["Invoice"]["issued"].replace(microsecond=0) == INVOICE.issued.replace(microsecond=0)
    assert [codec.decode_primitive(message.value()) for message in messages] == sent


def test_a_change_of_twelve_megabytes_goes_through(kafka, topic, url, codec):
    change = Change(ORIGIN, items=(Document(text="x" * (12 << 20)), Chunk(text="y")))
    (message,) = through_the_broker(kafka, topic, [codec.encode_change(change, topic)])
    (record,) = deserialized(url, topic, [message])
    assert len(record["items"][0]["text"]) == 12 << 20
    assert codec.decode_change(message.value(), topic=topic, partition=0, offset=0).items[1].text == "y"
