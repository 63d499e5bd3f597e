"""What is known, before anything runs, of the primitives that cross an edge."""

from __future__ import annotations

from dataclasses import dataclass

from nvisy.expressions import FieldType
from nvisy.primitives.primitive import Primitive


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of an edge.

    Attributes:
        primitive: Class of the primitives.
        raw: A Document that may still be bytes (a PDF): it has to be extracted before its text can be used.
        model: For embeddings: the model and revision that made them, else empty.
        dimensions: For embeddings: length of the vectors, else 0.
        fields: What expressions see of a primitive whose fields its class does not tell, such as a row; the columns
            of a table. None: what the class says.
        open: There are fields besides, whose names and types are not known before it runs.
    """

    primitive: type[Primitive]
    raw: bool = False
    model: str = ""
    dimensions: int = 0
    fields: tuple[tuple[str, FieldType], ...] | None = None
    open: bool = False

    def __str__(self) -> str:
        detail = f"({self.model}, {self.dimensions} dimensions)" if self.model else ""
        return f"{'raw ' if self.raw else ''}{self.primitive.type}{detail}"


class ShapeMismatch(Exception):  # noqa: N818 - compile-time only, turned into a fault with its place
    """A node cannot take what an edge brings, or its parameters do not fit it.

    Attributes:
        message: Why.
        hint: What would help, or empty.
        param: JSON pointer below the node's `params` to the value at fault, `/when`, or empty for the node itself.
    """

    def __init__(self, message: str, hint: str = "", param: str = "") -> None:
        self.message = message
        self.hint = hint
        self.param = param
        super().__init__(message)
