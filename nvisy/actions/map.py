"""`map`: a new primitive, its fields computed by expressions."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from nvisy.actions._expression import compiled
from nvisy.connector.action import EachAction
from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.shape import Shape
from nvisy.errors import Rejected
from nvisy.expressions import Expression, FieldType
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.document import Document
from nvisy.primitives.embedding import Embedding
from nvisy.primitives.primitive import Primitive


class MapParams(Params):
    """Parameters of `map`."""

    primitive: Literal["Document", "Chunk", "Embedding"] = Field(
        "Document",
        description="What it makes: Document, Chunk, or Embedding, of a vector that is there already.",
    )
    text: str = Field("text", min_length=1, description="An expression: the text of what it makes.")
    metadata: dict[str, str] = Field(
        default_factory=dict,
        description="Expressions by metadata field; fields that are not named stay as they are.",
    )
    vector: str | None = Field(
        None, min_length=1, description="With `Embedding`, an expression: the vector, a list of numbers."
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="With `Embedding`: what made the vectors, and embeds the questions of a search.",
    )
    dimensions: int | None = Field(
        None, ge=1, description="With `Embedding`: length of the vectors; the model's own if left out."
    )

    @model_validator(mode="after")
    def _vectors_belong_to_embeddings(self) -> Self:
        if self.primitive == "Embedding" and not (self.vector and self.model):
            raise ValueError('an Embedding needs a "vector" and the "model" that made it')
        for name in ("vector", "model", "dimensions"):
            if self.primitive != "Embedding" and name in self.model_fields_set:
                raise ValueError(f'"{name}" is for a map whose "primitive" is Embedding')
        return self

    def for_model(self) -> dict[str, int]:
        """The model's own parameters."""
        return {} if self.dimensions is None else {"dimensions": self.dimensions}


Made = type[Document] | type[Chunk] | type[Embedding]
_MADE: dict[str, Made] = {"Document": Document, "Chunk": Chunk, "Embedding": Embedding}


@dataclass(frozen=True, slots=True)
class _Compiled:
    text: Expression
    metadata: dict[str, Expression]
    vector: Expression | None


class MapAction:
    """Computes the text, the metadata and, where it makes embeddings, the vector of one primitive from another."""

    def __init__(self, make: Made, compiled: _Compiled, model: str = "", dimensions: int = 0) -> None:
        self._make = make
        self._text = compiled.text
        self._metadata = compiled.metadata
        self._vector = compiled.vector
        self._model = model
        self._dimensions = dimensions

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
        """What the new primitive has besides, of its own or in common with the old one."""
        if self._vector is not None:
            vector = self._vector(item)
            if len(vector) != self._dimensions:
                message = (
                    f"map: the vector has {len(vector)} numbers, and {self._model} makes {self._dimensions}"
                )
                raise Rejected(message, kind="expression")
            return {"vector": vector, "model": self._model}
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
        compiled(params.vector, incoming, FieldType.LIST, "/vector") if params.vector else None,
    )


def _shape(params: MapParams, incoming: Shape, models: Models) -> Shape:
    _compiled(params, incoming)
    if not params.model:
        return Shape(_MADE[params.primitive])
    name, dimensions = models(params.model, params.for_model())
    return Shape(Embedding, model=name, dimensions=dimensions)


def _build(params: MapParams, context: Context) -> EachAction:
    make, expressions = _MADE[params.primitive], _compiled(params, context.incoming)
    if not params.model:
        return MapAction(make, expressions)
    with closing(context.models(params.model, params.for_model())) as model:
        return MapAction(make, expressions, f"{params.model}@{model.revision}", model.dimensions)


DESCRIPTOR = ActionDescriptor(
    name="map",
    summary="Makes a document, chunk or embedding whose text, metadata and vector are computed by expressions.",
    params=MapParams,
    shape=_shape,
    build=_build,
    is_repeatable=True,
    example={"primitive": "Document", "text": "text.trim()", "metadata": {"name": "key"}},
)
