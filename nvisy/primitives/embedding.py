"""A vector with the text and the model it came from."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from nvisy.primitives.primitive import Primitive, content_hash
from nvisy.primitives.values import Count, TextSpan, Vector, is_finite


class Embedding(Primitive):
    """A vector, and what it stands for.

    Attributes:
        vector: float32, shape (dimensions,), read-only, finite numbers only.
        model: Model and revision that made it, `name@revision`: vectors of two models never mix.
        text: The text that was embedded; empty for an image or a sound.
        dimensions: Length of the vector; taken from it when left out.
        span: Where the text stands in the extracted text of the document, or None.
    """

    vector: Vector
    model: str = Field(min_length=1)
    text: str = ""
    dimensions: Count = 0
    span: TextSpan | None = None

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The text that was embedded, as in the `Chunk` it came from; of what is not text, the vector."""
        return (self.text,) if self.text else (self.vector.tobytes(),)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        length = len(self.vector)
        if not self.dimensions:
            self.__dict__["dimensions"] = length
        elif self.dimensions != length:
            raise ValueError(f"dimensions is {self.dimensions}, and the vector has {length} numbers")
        if self.text and self.content_hash != content_hash(self.text):
            raise ValueError("content_hash is not the hash of the text; leave it out and it is computed")
        return self

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks the vector, its length and the span; the rest is for the schema's types."""
        vector, span = fields["vector"], fields["span"]
        sound = len(vector) == fields["dimensions"] > 0 and is_finite(vector) and fields["model"]
        if not sound or (span is not None and not 0 <= span[0] <= span[1]):
            return cls.model_validate(fields)
        return cls.trusted(fields)
