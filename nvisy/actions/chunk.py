"""`chunk`: cuts the text of documents into passages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from pydantic import Field, model_validator

from nvisy.actions._accepts import require
from nvisy.connector.action import EachAction
from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.shape import Shape
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.document import Document
from nvisy.primitives.primitive import Primitive, content_hash
from nvisy.primitives.provenance import Span
from nvisy.primitives.values import MetadataValue
from nvisy.text.split import split


class ChunkParams(Params):
    """Parameters of `chunk`."""

    size: int = Field(400, ge=1, le=1_000_000, description="The longest chunk, in characters.")
    overlap: int = Field(0, ge=0, description="Characters of the chunk before that a chunk may repeat.")

    @model_validator(mode="after")
    def _overlap_below_size(self) -> Self:
        if self.overlap >= self.size:
            raise ValueError(f"overlap ({self.overlap}) has to be below size ({self.size})")
        return self


class ChunkAction:
    """Cuts where the content says so, so that an edit changes the chunks around it and no others."""

    def __init__(self, params: ChunkParams) -> None:
        self._size = params.size
        self._overlap = params.overlap

    def each(self, item: Primitive) -> Iterable[Primitive]:
        """The chunks of a document, with its metadata; none of a blank one."""
        assert isinstance(item, Document)
        text, metadata = item.text, item.metadata
        return [
            _chunk(text[start:end], Span(start, end), ordinal, metadata)
            for ordinal, (start, end) in enumerate(split(text, self._size, self._overlap))
        ]

    def close(self) -> None:
        """Nothing is held."""


def _chunk(text: str, span: Span, ordinal: int, metadata: dict[str, MetadataValue]) -> Chunk:
    return Chunk.trusted(
        {
            "id": "",
            "content_hash": content_hash(text),
            "parent": "",
            "steps": "",
            "metadata": metadata,
            "provenance": None,
            "text": text,
            "span": span,
            "ordinal": ordinal,
        }
    )


def _shape(params: ChunkParams, incoming: Shape, models: Models) -> Shape:
    require(incoming, Document)
    return Shape(Chunk)


def _build(params: ChunkParams, context: Context) -> EachAction:
    return ChunkAction(params)


DESCRIPTOR = ActionDescriptor(
    name="chunk",
    summary="Cuts the text of documents into passages, at places that their content chooses.",
    params=ChunkParams,
    shape=_shape,
    build=_build,
    is_repeatable=True,
    example={"size": 400, "overlap": 0},
)
