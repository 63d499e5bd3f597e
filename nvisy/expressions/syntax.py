"""The syntax tree of a checked expression, in the few shapes we look at."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["const", "ident", "select", "has", "call", "list", "other"]


@dataclass(frozen=True, slots=True)
class Node:
    """One part of an expression.

    Attributes:
        kind: `select` is `x.name`, `has` is `has(x.name)`, `other` a map literal or a loop over a list.
        name: Of the identifier, the selected field or the function (`_&&_`, `size`), else empty.
        value: Of a constant, else None.
        children: Operands from left to right; the target of a method call comes first.
        column: 1-based place of its operator in the text, counted in characters.
    """

    kind: Kind
    column: int
    name: str = ""
    value: bool | int | float | str | bytes | None = None
    children: tuple[Node, ...] = ()

    @property
    def start(self) -> int:
        """1-based place of its first character, but for opening brackets."""
        return min([self.column, *(child.start for child in self.children)])


def tree_of(checked: Any) -> Node:
    """The tree in a `CheckedExpr` message (`wire.unpack`)."""
    offsets = {position.expr_id: position.offset for position in checked.source_info.positions}
    return _node(checked.expr, offsets)


def names_used(tree: Node, fields: Collection[str]) -> dict[str, frozenset[str] | None]:
    """Which of `fields` the expression reads, and which of their entries.

    Returns:
        Field name to the entries it takes from that field by constant name (`metadata.lang`,
        `metadata['x-y']`), or to None when it needs the field as a whole.
    """
    used: dict[str, frozenset[str] | None] = {}
    for name, entry in _reads(tree):
        if name in fields:
            before = used.get(name, frozenset())
            used[name] = None if entry is None or before is None else before | {entry}
    return used


def _reads(node: Node) -> Iterator[tuple[str, str | None]]:
    if node.kind == "ident":
        yield node.name, None
    elif (entry := entry_of(node)) is not None:
        yield entry
    else:
        for child in node.children:
            yield from _reads(child)


def entry_of(node: Node) -> tuple[str, str] | None:
    """(field, entry) when the node is `field.entry`, `field['entry']` or `has(field.entry)`, else None."""
    if not node.children or node.children[0].kind != "ident":
        return None
    field = node.children[0].name
    if node.kind in {"select", "has"}:
        return field, node.name
    if node.kind == "call" and node.name == "_[_]" and isinstance(node.children[1].value, str):
        return field, node.children[1].value
    return None


def _node(expr: Any, offsets: dict[int, int]) -> Node:
    column = offsets.get(expr.id, 0) + 1
    kind: Kind
    parts: list[Any]
    if expr.HasField("const"):
        set_fields = expr.const.ListFields()
        kind, name, value, parts = "const", "", _constant(set_fields), []
    elif expr.HasField("ident"):
        kind, name, value, parts = "ident", expr.ident.name, None, []
    elif expr.HasField("select"):
        kind = "has" if expr.select.test_only else "select"
        name, value, parts = expr.select.field, None, [expr.select.operand]
    elif expr.HasField("call"):
        target = [expr.call.target] if expr.call.HasField("target") else []
        kind, name, value, parts = "call", expr.call.function, None, [*target, *expr.call.args]
    elif expr.HasField("list"):
        kind, name, value, parts = "list", "", None, list(expr.list.elements)
    else:
        kind, name, value, parts = "other", "", None, _other_parts(expr)
    return Node(kind, column, name, value, tuple(_node(part, offsets) for part in parts))


def _constant(set_fields: list[tuple[Any, Any]]) -> bool | int | float | str | bytes | None:
    [(descriptor, value)] = set_fields
    return None if descriptor.name == "null" else value


def _other_parts(expr: Any) -> list[Any]:
    if expr.HasField("struct"):
        return [part for entry in expr.struct.entries for part in (entry.key, entry.value)]
    loop = expr.comprehension
    return [loop.range, loop.init, loop.condition, loop.step, loop.result]
