"""`map`: a new primitive, its fields computed by expressions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, ValidationError

from nvisy.actions._expression import compiled
from nvisy.connector.action import EachAction
from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.shape import Shape
from nvisy.errors import Rejected
from nvisy.expressions import Expression, FieldType
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.document import Document
from nvisy.primitives.primitive import Primitive


class MapParams(Params):
    """Parameters of `map`."""

    primitive: Literal["Document", "Chunk"] = Field(
        "Document", description="What it makes: Document or Chunk."
    )
    text: str = Field("text", min_length=1, description="An expression: the text of what it makes.")
    metadata: dict[str, str] = Field(
        default_factory=dict,
        description="Expressions by metadata field; fields that are not named stay as they are.",
    )


@dataclass(frozen=True, slots=True)
class _Compiled:
    text: Expression
    metadata: dict[str, Expression]


class MapAction:
    """Computes the text and the metadata of one primitive from another."""

    def __init__(self, make: type[Document] | type[Chunk], compiled: _Compiled) -> None:
        self._make = make
        self._text = compiled.text
        self._metadata = compiled.metadata

    def each(self, item: Primitive) -> Iterable[Primitive]:
        """The one primitive that `item` becomes.

        Raises:
            Rejected: An expression has no value for `item`, or one that the field cannot hold (kind `expression`).
        """
        text = self._text(item)
        metadata = {**item.metadata, **{name: value(item) for name, value in self._metadata.items()}}
        try:
            return (self._make(text=text, metadata=metadata, **self._kept(item, text)),)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            reason = first["msg"].removeprefix("Value error, ")
            raise Rejected(f"map: {where}: {reason}", kind="expression") from None

    def close(self) -> None:
        """Nothing is held."""

    def _kept(self, item: Primitive, text: str) -> dict[str, object]:
        """What the new primitive has in common with the old one."""
        if self._make is Document and isinstance(item, Document):
            return {"title": item.title, "language": item.language}
        if self._make is Chunk and isinstance(item, Chunk):
            return {"ordinal": item.ordinal, "span": item.span if text == item.text else None}
        return {}


def _compiled(params: MapParams, incoming: Shape) -> _Compiled:
    return _Compiled(
        compiled(params.text, incoming, FieldType.STRING, "/text"),
        {
            name: compiled(text, incoming, None, f"/metadata/{name.replace('~', '~0').replace('/', '~1')}")
            for name, text in params.metadata.items()
        },
    )


def _made(params: MapParams) -> type[Document] | type[Chunk]:
    return Document if params.primitive == "Document" else Chunk


def _shape(params: MapParams, incoming: Shape, models: Models) -> Shape:
    _compiled(params, incoming)
    return Shape(_made(params))


def _build(params: MapParams, context: Context) -> EachAction:
    return MapAction(_made(params), _compiled(params, context.incoming))


DESCRIPTOR = ActionDescriptor(
    name="map",
    summary="Makes a document or chunk whose text and metadata are computed by expressions.",
    params=MapParams,
    shape=_shape,
    build=_build,
    example={"primitive": "Document", "text": "text.trim()", "metadata": {"name": "key"}},
)
