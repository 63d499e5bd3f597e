"""Expressions among the parameters of an action."""

from __future__ import annotations

from nvisy import expressions
from nvisy.connector.fields import fields_in
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.errors import ExpressionError
from nvisy.expressions import Expression, FieldType


def compiled(text: str, incoming: Shape, result: FieldType | None, param: str) -> Expression:
    """The expression in parameter `param` (a JSON pointer) over the fields of what comes in.

    Raises:
        ShapeMismatch: It does not compile (the message says at which column), or reads a text that nobody extracted.
    """
    try:
        expression = expressions.compile(text, fields_in(incoming, text), result)
    except ExpressionError as error:
        raise ShapeMismatch(str(error), error.hint or "", param) from error
    if incoming.raw and "text" in expression.fields:
        raise ShapeMismatch(
            "`text` is empty in documents that may still be bytes", "put an `extract` node before it", param
        )
    return expression
