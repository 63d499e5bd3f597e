"""`filter`: lets through what a condition holds for."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from nvisy.actions._expression import compiled
from nvisy.connector.action import EachAction
from nvisy.connector.descriptor import ActionDescriptor, Context, Models, Params
from nvisy.connector.shape import Shape
from nvisy.expressions import Expression, FieldType
from nvisy.primitives.primitive import Primitive


class FilterParams(Params):
    """Parameters of `filter`."""

    when: str = Field(min_length=1, description="An expression: what it is true for passes.")


class FilterAction:
    """Passes primitives on unchanged, or not at all."""

    def __init__(self, when: Expression) -> None:
        self._when = when

    def each(self, item: Primitive) -> Iterable[Primitive]:
        """`item`, or nothing.

        Raises:
            Rejected: The expression has no value for `item` (kind `expression`).
        """
        return (item,) if self._when(item) else ()

    def close(self) -> None:
        """Nothing is held."""


def _compiled(params: FilterParams, incoming: Shape) -> Expression:
    return compiled(params.when, incoming, FieldType.BOOL, "/when")


def _shape(params: FilterParams, incoming: Shape, models: Models) -> Shape:
    _compiled(params, incoming)
    return incoming


def _build(params: FilterParams, context: Context) -> EachAction:
    return FilterAction(_compiled(params, context.incoming))


DESCRIPTOR = ActionDescriptor(
    name="filter",
    summary="Lets through what a condition holds for; what an earlier version let through is taken back.",
    params=FilterParams,
    shape=_shape,
    build=_build,
    is_repeatable=True,
    example={"when": "size(text) > 200 && coalesce(metadata.lang, 'en') == 'en'"},
)
