"""`extract`: the bytes of documents to text."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from nvisy.connector.action import EachAction
from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import Rejected
from nvisy.primitives.document import Document
from nvisy.primitives.primitive import Primitive, content_hash
from nvisy.primitives.values import MetadataValue
from nvisy.text.extract import Extracted, extract

_UNSAID = Document.model_fields["media_type"].default
"""What a source leaves in a document whose bytes it has not looked into: they and the name tell the type."""


class ExtractParams(Params):
    """Parameters of `extract`."""

    text: str | None = Field(
        None, min_length=1, description="For records (JSON Lines, CSV): the field that is the text."
    )


class ExtractAction:
    """Reads text, Markdown, HTML, PDF, DOCX, JSON Lines and CSV; a document that is text already passes unchanged."""

    def __init__(self, params: ExtractParams) -> None:
        self._text_field = params.text

    def each(self, item: Primitive) -> Iterable[Primitive]:
        """The document with its text in place of the bytes, and what its format says about it as metadata.

        Raises:
            Rejected: It cannot be read; `kind` says why.
            Transient: The reader's own process cannot be started.
        """
        assert isinstance(item, Document)
        if item.content is None:
            return (item,)
        found = self._extracted(item.content, item)
        title = found.metadata.get("title")
        metadata: dict[str, MetadataValue] = {**found.metadata, **item.metadata}
        return (
            item.replaced(
                id="",
                text=found.text,
                content=None,
                content_hash=content_hash(found.text),
                title=item.title or (title if isinstance(title, str) else ""),
                metadata=metadata,
            ),
        )

    def _extracted(self, content: bytes, item: Document) -> Extracted:
        """What is in a document; an empty one is no fault: it says that there is nothing to find any more."""
        declared = "" if item.media_type == _UNSAID else item.media_type
        try:
            return extract(content, declared, name=item.key, text_field=self._text_field)
        except Rejected as error:
            if error.kind == "empty":
                return Extracted("", {})
            raise

    def close(self) -> None:
        """Nothing is held."""


def _shape(params: ExtractParams, incoming: Shape, models: Models) -> Shape:
    if not issubclass(incoming.primitive, Document):
        raise ShapeMismatch(f"it takes Document, and {incoming} comes in", "leave it out")
    return Shape(incoming.primitive)


def _build(params: ExtractParams, context: Context) -> EachAction:
    return ExtractAction(params)


DESCRIPTOR = ActionDescriptor(
    name="extract",
    summary="Turns the bytes of documents into text: plain text, Markdown, HTML, PDF, DOCX, JSON Lines, CSV.",
    params=ExtractParams,
    shape=_shape,
    build=_build,
    is_repeatable=True,
)
