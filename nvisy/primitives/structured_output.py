"""A JSON value that a model was asked to give in a certain form."""

from __future__ import annotations

from typing import Any, Self

import orjson
from pydantic import Field, model_validator

from nvisy.primitives.primitive import Primitive
from nvisy.primitives.values import Json, is_sound


class StructuredOutput(Primitive):
    """A JSON value, the schema it was asked to follow, and whether it does.

    Attributes:
        value: The value: any JSON, at most 64 levels deep. On the wire it is JSON text.
        schema_name: Name of the schema that it was to follow.
        conforms: Whether it does.
        violations: Where it does not, one sentence each; empty when it conforms.
        model: Model and revision that gave it, or empty.
    """

    value: Json
    schema_name: str = Field(min_length=1)
    conforms: bool = True
    violations: tuple[str, ...] = ()
    model: str = ""

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The schema's name and the value, whatever the order of its keys."""
        return (self.schema_name, orjson.dumps(self.value, option=orjson.OPT_SORT_KEYS))

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks name, verdict and metadata; JSON was checked where it was read, the rest is for the schema's types."""
        sound = fields["content_hash"] and fields["schema_name"] and is_sound(fields["metadata"])
        if not sound or (fields["conforms"] and fields["violations"]):
            return cls.model_validate(fields)
        return cls.trusted(fields)

    @model_validator(mode="after")
    def _verdict(self) -> Self:
        if self.conforms and self.violations:
            raise ValueError("a value with violations does not conform; set conforms to false")
        return self
