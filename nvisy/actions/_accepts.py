"""Refusing, when a graph is compiled, what an action cannot work on."""

from __future__ import annotations

from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.primitives.primitive import Primitive


def require(incoming: Shape, *accepted: type[Primitive]) -> None:
    """Let through text of the `accepted` classes.

    Raises:
        ShapeMismatch: `incoming` is something else, or documents that may not be extracted yet.
    """
    if not issubclass(incoming.primitive, accepted):
        names = " or ".join(cls.type for cls in accepted)
        raise ShapeMismatch(
            f"it takes {names}, and {incoming} comes in",
            "make documents of them first, with a `map` or `python` node",
        )
    if incoming.raw:
        raise ShapeMismatch(
            "the documents that come in may still be bytes, and it takes text",
            "put an `extract` node before it",
        )
