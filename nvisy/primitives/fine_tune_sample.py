"""A conversation to train a model on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nvisy.primitives.primitive import Primitive, built
from nvisy.primitives.values import is_sound

Role = Literal["system", "user", "assistant", "tool"]

_MAY_FOLLOW: dict[str, tuple[str, ...]] = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user", "tool"),
    "tool": ("tool", "assistant"),
}


class Message(BaseModel):
    """One turn of a conversation.

    Attributes:
        role: Who speaks.
        content: What is said.
        name: Name of the tool that speaks, or of a person; may be empty.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Role
    content: str
    name: str = ""

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """As it is: the schema's types say all that the contract does."""
        return built(cls, fields)


class FineTuneSample(Primitive):
    """A conversation as training data: an optional system message, then turns that end with the assistant's.

    Attributes:
        messages: The turns, in order: user and assistant alternate, tools answer the assistant.
        model: Model it is meant for, or empty.
    """

    messages: Annotated[tuple[Message, ...], Field(min_length=2)]
    model: str = ""

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The conversation."""
        return (orjson.dumps([[turn.role, turn.name, turn.content] for turn in self.messages]),)

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks the turns and the metadata; the rest is for the schema's types."""
        messages = fields["messages"]
        if not fields["content_hash"] or len(messages) < 2 or not is_sound(fields["metadata"]):
            return cls.model_validate(fields)
        _check_roles(messages)
        return cls.trusted(fields)

    @model_validator(mode="after")
    def _legal(self) -> Self:
        _check_roles(self.messages)
        return self


def _check_roles(messages: Sequence[Message]) -> None:
    before = ""
    for index, message in enumerate(messages):
        legal = _MAY_FOLLOW[before]
        if message.role not in legal:
            place = f"after {before!r}" if before else "at the start"
            raise ValueError(
                f"messages[{index}] is from {message.role!r}; {place} comes {' or '.join(legal)}"
            )
        before = message.role
    if before != "assistant":
        raise ValueError(f"the last message is the assistant's, which a model learns from, not {before!r}")
