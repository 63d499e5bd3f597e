"""Search filters: what a search may ask of the key, the source and the metadata of a record.

A filter is an expression (`nvisy.expressions`) cut down to what every store can answer by itself:

    metadata.lang == 'en' && metadata.page >= 10
    key in ['a.md', 'b.md'] || 'legal' in metadata.tags
    has(metadata.lang) && !(source_uri == 'https://example.org/')

It gives the same answer in every store, so what CEL makes an error has an answer here:

- A field that is missing, or null, makes every comparison with it false, `!=` and `in` as well. `!` then
  makes it true: `metadata.lang != 'en'` finds what is in another language, `!(metadata.lang == 'en')` also
  what has no language.
- Values of different types are never equal, and neither is less. The types are text, numbers, bools and
  lists: 1 and 1.0 are the same number; true is not 1, '1' is not 1, and a list is not its only element.
- Text is ordered by code point, not by the rules of a language. True and false have no order.
- A number is at most 2^53 - 1 in size: beyond that, some stores round.

`matches` is that meaning in Python. Stores translate the tree into filters of their own and are tested
against the cases in `nvisy.testing.filter_cases`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from nvisy.errors import ExpressionError
from nvisy.expressions.checks import check_result
from nvisy.expressions.expression import check
from nvisy.expressions.faults import operator_name
from nvisy.expressions.fields import FieldType
from nvisy.expressions.filter_hints import IN_A_TEXT, hint_for, written
from nvisy.expressions.filter_tree import (
    And,
    Compare,
    Contains,
    Field,
    Filter,
    Has,
    In,
    Not,
    Operand,
    Operator,
    Or,
    matches,
)
from nvisy.expressions.syntax import Node, entry_of, tree_of

__all__ = [
    "SEARCH_FIELDS",
    "And",
    "Compare",
    "Contains",
    "Field",
    "Filter",
    "Has",
    "In",
    "Not",
    "Operand",
    "Operator",
    "Or",
    "matches",
    "parse_filter",
]

SEARCH_FIELDS: Mapping[str, FieldType] = {
    "key": FieldType.STRING,
    "source_uri": FieldType.NULLABLE_STRING,
    "metadata": FieldType.MAP,
}
"""What a search filter may use: every record of every index has these."""

_SCALARS = frozenset(name for name, kind in SEARCH_FIELDS.items() if kind is not FieldType.MAP)
_OPERATORS: dict[str, Operator] = {
    "_==_": "==",
    "_!=_": "!=",
    "_<_": "<",
    "_<=_": "<=",
    "_>_": ">",
    "_>=_": ">=",
}
_TURNED: dict[Operator, Operator] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_LARGEST = 2**53 - 1
_NAMELESS = {"const": "constant", "list": "list", "other": "map or a loop"}


def parse_filter(text: str) -> Filter:
    """The tree of a search filter.

    CEL parses and type-checks the text first, so a filter means what the same expression means elsewhere.

    Raises:
        ExpressionError: It does not compile, or uses what not every store can answer; with the column.
    """
    try:
        checked, given = check(text, SEARCH_FIELDS)
    except ExpressionError as error:
        hint = IN_A_TEXT if error.message.startswith("'in' cannot be applied") else error.hint
        raise ExpressionError(error.message, column=error.column, hint=hint) from None
    check_result(given, FieldType.BOOL)
    return _filter(tree_of(checked))


def _filter(node: Node) -> Filter:
    match node:
        case Node("call", name="_&&_"):
            return And(tuple(_filter(part) for part in _chain(node)))
        case Node("call", name="_||_"):
            return Or(tuple(_filter(part) for part in _chain(node)))
        case Node("call", name="!_", children=(part,)):
            return Not(_filter(part))
        case Node("call", name="@in", children=(element, container)):
            return _membership(element, container)
        case Node("call", name=name, children=(left, right)) if name in _OPERATORS:
            return _comparison(_OPERATORS[name], left, right)
        case Node("has") if field := entry_of(node):
            return Has(field)
        case Node("select") | Node("call", name="_[_]") if entry_of(node):
            raise ExpressionError("it may be no bool", column=node.start, hint="compare it, as with == true")
    raise _refused(node)


def _chain(node: Node) -> Iterator[Node]:
    """`a && b && c`, which CEL nests, as its links."""
    for part in node.children:
        if part.kind == "call" and part.name == node.name:
            yield from _chain(part)
        else:
            yield part


def _comparison(op: Operator, left: Node, right: Node) -> Filter:
    if left.kind == "const" and right.kind != "const":
        return _comparison(_TURNED[op], right, left)
    field, value = _field(left), _operand(right)
    if isinstance(value, bool) and op not in {"==", "!="}:
        raise ExpressionError("true and false have no order", column=right.start, hint="use == or !=")
    return Compare(field, op, value)


def _membership(element: Node, container: Node) -> Filter:
    if container.kind == "list":
        return In(_field(element), tuple(_operand(item) for item in container.children))
    value = _operand(element)
    if not isinstance(value, str):
        raise ExpressionError("lists in metadata hold strings", column=element.start, hint="write a string")
    if container.kind == "ident":
        return Has((container.name, value))
    return Contains(_field(container), value)


def _field(node: Node) -> Field:
    if node.kind == "ident" and node.name in _SCALARS:
        return (node.name,)
    entry = entry_of(node)
    if entry is None or node.kind == "has":
        raise _refused(node)
    return entry


def _operand(node: Node) -> Operand:
    value = node.value
    if written(node) not in (None, "metadata"):
        raise _two_fields(node)
    if node.kind != "const" or isinstance(value, bytes):
        raise _refused(node)
    if value is None:
        raise ExpressionError("a filter cannot use null", column=node.start, hint="ask has(…) or !has(…)")
    if isinstance(value, str) and "\0" in value:
        raise ExpressionError("a filter cannot look for a NUL character", column=node.start)
    if isinstance(value, int | float) and abs(value) > _LARGEST:
        raise ExpressionError(f"{value} is too large: not every store compares it exactly", column=node.start)
    return value


def _refused(node: Node) -> ExpressionError:
    if node.kind == "call":
        what, column = operator_name(node.name), node.column
    elif node.name:
        what, column = f"{node.name!r} in this place", node.start
    else:
        what, column = f"a {_NAMELESS[node.kind]} in this place", node.start
    return ExpressionError(f"a filter cannot use {what}", column=column, hint=hint_for(node))


def _two_fields(node: Node) -> ExpressionError:
    message = f"a filter cannot compare with another field, {written(node)}"
    hint = "compare with a value; a text is written in quotes"
    return ExpressionError(message, column=node.start, hint=hint)
