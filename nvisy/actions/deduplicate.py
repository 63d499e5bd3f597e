"""`deduplicate`: one of several documents with the same content, and the next one when that goes away.

Which one is kept can only be told with every document in view, so the runtime runs this as a stage of its own, with
`nvisy.actions.first_owner` as its memory; there is nothing to build here.
"""

from __future__ import annotations

from typing import Literal, NoReturn

from pydantic import Field

from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Fatal
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.document import Document


class DeduplicateParams(Params):
    """Parameters of `deduplicate`."""

    by: Literal["content"] = Field("content", description="What has to be equal: `content`, exactly.")


def _shape(params: DeduplicateParams, incoming: Shape, models: Models) -> Shape:
    if not issubclass(incoming.primitive, Document | Chunk):
        raise ShapeMismatch(
            f"it takes Document or Chunk, and {incoming} comes in",
            "deduplicate before the step that makes them",
        )
    return incoming


def _build(params: DeduplicateParams, context: Context) -> NoReturn:
    raise Fatal("deduplicate has to see every document, so the runtime runs it as a stage of its own")


DESCRIPTOR = ActionDescriptor(
    name="deduplicate",
    summary="Keeps one of several documents with the same content; when it goes away, the next takes its place.",
    params=DeduplicateParams,
    shape=_shape,
    build=_build,
    whole_stream=True,
    example={"by": "content"},
)
