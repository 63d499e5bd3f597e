"""A document: what a source reads, before and after its text is extracted."""

from __future__ import annotations

from typing import Any, Self

from nvisy.primitives.primitive import Primitive


class Document(Primitive):
    """A document of a source.

    A source yields it with `content` alone, the bytes as they were found; `extract` turns those into `text`.
    A function that writes a document of its own gives `text`.

    Attributes:
        text: The text, once it is known.
        content: The raw bytes that no step has extracted yet, or None.
        media_type: MIME type of the content, `application/pdf`.
        title: A name for people, or empty.
        language: BCP 47 tag, `en`, or empty where it is not known.
    """

    text: str = ""
    content: bytes | None = None
    media_type: str = "text/plain"
    title: str = ""
    language: str = ""

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The text and the raw bytes."""
        return (self.text, self.content) if self.content is not None else (self.text,)

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """As it is: the schema's types say all that the contract does."""
        return cls.trusted(fields)
