"""A passage of a document: the unit that is embedded and found."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field

from nvisy.primitives.primitive import Primitive
from nvisy.primitives.values import Count, TextSpan


class Chunk(Primitive):
    """A passage of a document's text.

    Attributes:
        text: The passage; never empty.
        span: Where it stands in the extracted text of the document, in characters, or None if unknown.
        ordinal: Its place among the chunks of the document, from 0.
    """

    text: str = Field(min_length=1)
    span: TextSpan | None = None
    ordinal: Count = 0

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The text alone, so that a passage keeps its hash while the text around it moves."""
        return (self.text,)

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks the text, the span and the ordinal; the rest is for the schema's types."""
        span = fields["span"]
        if not fields["text"] or fields["ordinal"] < 0 or (span is not None and not 0 <= span[0] <= span[1]):
            return cls.model_validate(fields)
        return cls.trusted(fields)
