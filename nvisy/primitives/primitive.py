"""What flows: the base of every primitive, built in or a user's own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from nvisy.primitives.provenance import Provenance, Version
from nvisy.primitives.values import Metadata, MetadataValue

__all__ = ["MetadataValue", "Primitive", "content_hash", "derive_id"]

_BRIEF_CHARS = 60
M = TypeVar("M", bound=BaseModel)
_NONE_GIVEN: set[str] = set()

# What pydantic's own constructor sets, at a third of the price: reading a record spends half its time here.
_new: Any = object.__new__
_set_fields = BaseModel.__dict__["__dict__"].__set__
_set_given = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__


def content_hash(*parts: bytes | str) -> str:
    """Hash of content, 32 hexadecimal digits: the first half of SHA-256 over the length-prefixed `parts`."""
    pieces: list[bytes] = []
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        pieces += (len(data).to_bytes(8, "big"), data)
    return hashlib.sha256(b"".join(pieces)).hexdigest()[:32]


def derive_id(*parts: str) -> str:
    """A UUID that depends on `parts` and nothing else, so that a second run names the same thing the same."""
    hexed = hashlib.sha256("\x00".join(parts).encode()).hexdigest()
    variant = "89ab"[int(hexed[16], 16) & 3]  # RFC 9562, version 8: bits of our own choosing
    return f"{hexed[:8]}-{hexed[8:12]}-8{hexed[13:16]}-{variant}{hexed[17:20]}-{hexed[20:32]}"


def built(cls: type[M], fields: dict[str, Any]) -> M:
    """A model over `fields`, which must hold every field, valid."""
    self: M = _new(cls)
    _set_fields(self, fields)
    _set_given(self, _NONE_GIVEN)
    _set_extra(self, None)
    _set_private(self, None)
    return self


class Primitive(BaseModel):
    """One typed, immutable piece of AI data.

    A user's function builds a primitive from its content alone; the runtime fills in identity and provenance
    when the primitive enters the flow (`identified`).

    Attributes:
        id: A UUID that a second run over the same data gives again; empty until the runtime has set it.
        content_hash: Hash of what it says, apart from where it was found; computed when left empty.
        parent: Id of the primitive this one was made from, or empty.
        steps: Every node it went through with its configuration, `text@1a2b3c4d/chunk@5e6f7a8b`.
        metadata: The user's fields, carried along and stored with the record.
        provenance: Its origin, shared by all primitives of one change.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        ser_json_bytes="base64",
        val_json_bytes="base64",
        allow_inf_nan=False,
    )

    type: ClassVar[str] = "Primitive"
    """The name in graphs, schemas and the record's `type` field: the class's own, or what it says."""

    id: str = ""
    content_hash: str = ""
    parent: str = ""
    steps: str = ""
    metadata: Metadata = Field(default_factory=dict)
    provenance: Provenance | None = None

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Name the type after its class."""
        if "type" not in cls.__dict__:
            cls.type = cls.__name__

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.content_hash:
            self.__dict__["content_hash"] = content_hash(*self.content_parts())
        return self

    def content_parts(self) -> tuple[bytes | str, ...]:
        """What the content hash covers. Of a class that does not say: all fields of its own, as JSON."""
        own = self.model_dump(mode="json", exclude=set(Primitive.model_fields))
        return (orjson.dumps(own, option=orjson.OPT_SORT_KEYS),)

    @property
    def key(self) -> str:
        """What the source calls the document this came from."""
        return self.provenance.key if self.provenance else ""

    @property
    def version(self) -> Version | None:
        """Incarnation and offset of the document this came from, or None before it is in a log."""
        return self.provenance.version if self.provenance else None

    @classmethod
    def trusted(cls, fields: dict[str, Any]) -> Self:
        """A primitive over `fields`, which must hold every field, valid: the fast way for our own steps."""
        self: Self = _new(cls)  # and not `built`: a call more for every primitive that moves
        _set_fields(self, fields)
        _set_given(self, _NONE_GIVEN)
        _set_extra(self, None)
        _set_private(self, None)
        return self

    @classmethod
    def decoded(cls, fields: dict[str, Any]) -> Self:
        """A primitive over `fields`, which came from outside and hold every field, of the right type.

        Validates everything. A class on the hot path overrides this with what the types leave to check.

        Raises:
            ValueError: The fields contradict the class's contract.
        """
        return cls.model_validate(fields, by_name=True)

    def replaced(self, **fields: Any) -> Self:
        """A copy with other values in some fields, not validated again."""
        return self.trusted({**self.__dict__, **fields})

    def identified(
        self, *, discriminator: str, node: str, steps: str, parent: str, provenance: Provenance
    ) -> Self:
        """This primitive as node `node` put it into the flow."""
        fields = self.__dict__.copy()
        fields["id"] = derive_id(provenance.source, provenance.key, node, discriminator)
        fields["steps"] = steps
        fields["parent"] = parent
        fields["provenance"] = provenance
        return self.trusted(fields)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        mine, theirs = self.__dict__, other.__dict__
        return mine.keys() == theirs.keys() and all(_same(mine[name], theirs[name]) for name in mine)

    def __hash__(self) -> int:
        return hash((self.type, self.id, self.content_hash))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__repr_args__())
        return f"{self.type}({shown})"

    __str__ = __repr__

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """The fields that say something, without the bulk of texts, vectors and bytes."""
        for name, value in self.__dict__.items():
            if isinstance(value, np.ndarray) or (value is not None and value not in ("", b"", (), {})):
                yield name, _Brief(value)


def _same(mine: Any, theirs: Any) -> bool:
    if mine is theirs:
        return True
    if isinstance(mine, np.ndarray) or isinstance(theirs, np.ndarray):
        return np.array_equal(mine, theirs)
    return bool(mine == theirs)


class _Brief:
    """A value whose repr fits on a line."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        value = self._value
        if isinstance(value, np.ndarray):
            return f"<{value.dtype} {value.shape}>"
        if isinstance(value, bytes):
            return f"<{len(value)} bytes>"
        if isinstance(value, str):
            return (
                repr(value)
                if len(value) <= _BRIEF_CHARS
                else f"{value[:_BRIEF_CHARS]!r}… {len(value)} characters"
            )
        if isinstance(value, tuple) and not hasattr(value, "_fields") and len(value) > 3:
            return f"<{len(value)} of {type(value[0]).__name__}>"
        return repr(value)
