"""What a language model answered, and what that took."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from nvisy.primitives.primitive import Primitive
from nvisy.primitives.values import Count, Milliseconds, Usd


class Completion(Primitive):
    """The answer of a language model.

    Attributes:
        text: The answer.
        model: Model and revision that gave it.
        prompt: What it was asked, or empty where that is not kept.
        temperature: Sampling temperature, or None where the model's default was used.
        input_tokens: Tokens of the prompt.
        output_tokens: Tokens of the answer.
        latency_ms: Milliseconds from the call to the whole answer.
        cost_usd: What it cost in US dollars, exact; None where the price is not known.
        finish_reason: Why the model stopped, `stop`, `length`, …
    """

    text: str
    model: str = Field(min_length=1)
    prompt: str = ""
    temperature: Annotated[float, Field(ge=0)] | None = None
    input_tokens: Count = 0
    output_tokens: Count = 0
    latency_ms: Milliseconds = 0.0
    cost_usd: Usd | None = None
    finish_reason: str = ""

    @property
    def total_tokens(self) -> int:
        """Tokens of prompt and answer together."""
        return self.input_tokens + self.output_tokens

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The answer."""
        return (self.text,)
