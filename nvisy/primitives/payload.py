"""What images and sounds have in common: bytes, here or elsewhere, and the hash that proves them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from nvisy.primitives.primitive import Primitive
from nvisy.primitives.values import is_sound

Sha256 = Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
INT_END = 2**31
Pixels = Annotated[int, Field(ge=1, lt=INT_END)]


class Payload(Primitive):
    """Bytes that are not text: carried along, or left where they are and named by `uri` (a claim check).

    Attributes:
        data: The bytes, or None when only `uri` says where they are.
        uri: Where the bytes are, or empty when `data` holds them.
        sha256: Their SHA-256, hexadecimal; computed from `data`, required beside a bare `uri`.
        media_type: MIME type, `image/png`.
    """

    data: bytes | None = None
    uri: str = ""
    sha256: Sha256 = ""
    media_type: str = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _hashed(cls, fields: object) -> object:
        if isinstance(fields, dict) and isinstance(fields.get("data"), bytes) and not fields.get("sha256"):
            return {**fields, "sha256": hashlib.sha256(fields["data"]).hexdigest()}
        return fields

    @model_validator(mode="after")
    def _proven(self) -> Self:
        if self.data is None and not self.uri:
            raise ValueError("give the bytes as data, or say where they are by uri and sha256")
        if not self.sha256:
            raise ValueError("a bare uri needs sha256, or nobody can tell whether the bytes are the same")
        if self.data is not None and hashlib.sha256(self.data).hexdigest() != self.sha256:
            raise ValueError("sha256 is not the hash of data; leave it out and it is computed")
        return self

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """Checks the hash against the bytes, the numbers and the metadata; the rest is for the schema's types."""
        data = fields["data"]
        sound = (
            data is not None
            and hashlib.sha256(data).hexdigest() == fields["sha256"]
            and fields["content_hash"]
            and fields["media_type"]
            and is_sound(fields["metadata"])
            and cls._has_sound_numbers(fields)
        )
        return cls.trusted(fields) if sound else cls.model_validate(fields)

    @classmethod
    def _has_sound_numbers(cls, fields: Mapping[str, Any]) -> bool:
        """Whether what a kind of payload says about itself is within its limits; unknown here."""
        return False

    def content_parts(self) -> tuple[bytes | str, ...]:
        """The bytes, by their hash: the same whether they travel or not."""
        return (self.sha256,)
