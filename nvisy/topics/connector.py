"""`topic`: a topic that other programs fill, as a source, and one that they read, as a sink.

As a source it needs no stage of its own: offsets in it are the versions of its keys, and the stage behind it reads it
directly. A record is one document, a null value its delete. As a sink it gets one event per primitive under the
document's key; a null value before them says that everything older under that key is void.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nvisy.connector.descriptor import Context, Params, SinkDescriptor, SourceDescriptor
from nvisy.connector.shape import Shape
from nvisy.connector.sink import SinkCapabilities
from nvisy.connector.source import SourceCapabilities
from nvisy.primitives import BUILTIN, Document, PrimitiveTypes


class TopicParams(Params):
    """Which topic, and how its records are written."""

    topic: str = Field(
        min_length=1, description="Name of the topic, as it stands: the graph's id is not put before it."
    )
    format: Literal["avro", "json"] = Field("json", description="How values are written.")


class TopicSourceParams(TopicParams):
    """A topic that other programs fill."""

    key: str | None = Field(
        None, description="Field that names the document; without it the record's key does."
    )
    text: str = Field(
        "text", description="Field that is the document's text; the other fields become its metadata."
    )
    envelope: Literal["none", "debezium"] = Field(
        "none",
        description="`debezium`: values are change events of Debezium's, in their envelope or flattened, and the "
        "record's key is a row's.",
    )
    primitive: str = Field(
        "Document",
        description="What a record is: with `avro`, a primitive written by a `topic` sink is read back as such.",
    )


_SOURCE = SourceCapabilities(
    emits=frozenset(cls.type for cls in BUILTIN), raw=False, deletes=True, bounded=True, resume="position"
)
_SINK = SinkCapabilities(
    accepts=frozenset({"*"}),
    deletes=True,
    guarantee="transactional",
    max_batch_records=10_000,
    max_batch_bytes=64 << 20,
    max_dimensions=None,
    metadata=frozenset({"string", "number", "boolean", "strings"}),
    generations=False,
)


def _shape(params: TopicSourceParams) -> Shape:
    return Shape(PrimitiveTypes().get(params.primitive, Document))


def _itself(params: TopicParams, _context: Context) -> TopicParams:
    """There is nothing to open: the stage reads and writes the topic through its own seat at the log."""
    return params


SOURCE = SourceDescriptor(
    name="topic",
    summary="A topic of the log that other programs fill: one document per record, JSON or Avro.",
    params=TopicSourceParams,
    capabilities=_SOURCE,
    open=_itself,
    shape=_shape,
    topic=lambda params: params.topic,
    example={"topic": "articles", "format": "json", "key": "id", "text": "body"},
)
SINK = SinkDescriptor(
    name="topic",
    summary="A topic of the log for other programs: one event per primitive, JSON or Avro.",
    params=TopicParams,
    capabilities=_SINK,
    open=_itself,
    topic=lambda params: params.topic,
    example={"topic": "chunks", "format": "avro"},
)
DESCRIPTORS = (SOURCE, SINK)
