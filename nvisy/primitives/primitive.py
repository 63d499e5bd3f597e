"""What flows: the base of every primitive, built in or a user's own."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field

from nvisy.primitives.provenance import Provenance

Scalar = None | bool | int | float | str
MetadataValue = Scalar | list[str]
"""What a metadata field may hold: the types that every store can filter by."""


def content_hash(*parts: bytes | str) -> str:
    """Hash of content as 32 hexadecimal digits: the first half of SHA-256 over the length-prefixed `parts`."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:32]


def derive_id(*parts: str) -> str:
    """A UUID that depends on `parts` and on nothing else, so that a second run names the same thing the same."""
    hexed = hashlib.sha256("\x00".join(parts).encode()).hexdigest()
    variant = "89ab"[int(hexed[16], 16) & 3]  # RFC 9562, version 8: bits of our own choosing
    return f"{hexed[:8]}-{hexed[8:12]}-8{hexed[13:16]}-{variant}{hexed[17:20]}-{hexed[20:32]}"


class Primitive(BaseModel):
    """One typed, immutable piece of AI data.

    A user's function builds a primitive from its content alone; the runtime fills in identity and provenance
    when the primitive enters the flow (`identified`).

    Attributes:
        id: A UUID that a second run over the same data gives again; empty until the runtime has set it.
        content_hash: Hash of what the primitive says, apart from where it was found.
        parent: Id of the primitive this one was made from, or empty.
        steps: Every node it went through with its configuration, `text@1a2b3c4d/chunk@5e6f7a8b`.
        metadata: The user's fields, carried along and stored with the record.
        provenance: Its origin, shared by all primitives of one change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, ser_json_bytes="base64")

    type: ClassVar[str] = "Primitive"
    """The name in graphs, schemas and the record's `type` field: the class's own, unless a class says otherwise."""

    id: str = ""
    content_hash: str = ""
    parent: str = ""
    steps: str = ""
    metadata: dict[str, MetadataValue] = Field(default_factory=dict)
    provenance: Provenance | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Name the type after its class."""
        if "type" not in cls.__dict__:
            cls.type = cls.__name__

    @property
    def key(self) -> str:
        """What the source calls the document this came from."""
        return self.provenance.key if self.provenance else ""

    @property
    def version(self) -> tuple[int, int] | None:
        """(incarnation, offset) of the document this came from, or None before it is in a log."""
        return self.provenance.version if self.provenance else None

    @classmethod
    def trusted(cls, fields: dict[str, Any]) -> Self:
        """A primitive over `fields`, which must hold every field, valid: the fast way for decoders and our own steps."""
        self = cls.__new__(cls)
        object.__setattr__(self, "__dict__", fields)
        object.__setattr__(self, "__pydantic_fields_set__", _ALL_FIELDS)
        object.__setattr__(self, "__pydantic_extra__", None)
        object.__setattr__(self, "__pydantic_private__", None)
        return self

    def replaced(self, **fields: Any) -> Self:
        """A copy with other values in some fields, not validated again."""
        return self.trusted({**self.__dict__, **fields})

    def identified(self, *, discriminator: str, node: str, steps: str, parent: str, provenance: Provenance) -> Self:
        """This primitive as node `node` put it into the flow."""
        return self.replaced(
            id=derive_id(provenance.source, provenance.key, node, discriminator),
            steps=steps,
            parent=parent,
            provenance=provenance,
        )


_ALL_FIELDS: set[str] = set()
