"""What a language model answered, and what that took."""

from __future__ import annotations

from math import inf
from typing import Annotated, Any, Self

from pydantic import Field

from nvisy.primitives.primitive import Primitive
from nvisy.primitives.values import USD_END, Count, Milliseconds, Usd, is_sound


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

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks the model, the numbers and the metadata; the rest is for the schema's types."""
        temperature, cost_usd = fields["temperature"], fields["cost_usd"]
        sound = (
            fields["content_hash"]
            and fields["model"]
            and (temperature is None or 0 <= temperature < inf)
            and (cost_usd is None or 0 <= cost_usd < USD_END)
            and 0 <= fields["latency_ms"] < inf
            and min(fields["input_tokens"], fields["output_tokens"]) >= 0
            and is_sound(fields["metadata"])
        )
        return cls.trusted(fields) if sound else cls.model_validate(fields)
