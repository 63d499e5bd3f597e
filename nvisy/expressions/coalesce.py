"""`coalesce(a, b, …)`: the first argument that is neither missing nor null.

CEL evaluates the arguments of a function before the call, so a missing metadata field would fail before a
function of ours could supply the default. The compiler checks `coalesce` as a function; here it becomes

    has(metadata.a) && metadata.a != null ? metadata.a : b

which also keeps evaluation free of calls back into Python.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

from nvisy.expressions import wire

_NAME = "coalesce"
_MOST_ARGUMENTS = 5


def declaration() -> Any:
    """The signatures of `coalesce`, for the compiler."""
    dyn = cel.Type.DYN
    overloads = [cel.Overload(f"coalesce_{n}", dyn, [dyn] * n) for n in range(2, _MOST_ARGUMENTS + 1)]
    return cel.FunctionDecl(_NAME, overloads)


def expand(checked: Any) -> None:
    """Replace every `coalesce` in a `CheckedExpr` message by what it stands for."""
    highest = max((position.expr_id for position in checked.source_info.positions), default=0)
    ids = count(highest + 1)
    _expand(checked.expr, lambda: next(ids))


def _expand(expr: Any, new_id: Callable[[], int]) -> None:
    for part in _parts(expr):
        _expand(part, new_id)
    if not expr.HasField("call") or expr.call.function != _NAME:
        return
    *arguments, chosen = [_copy(argument) for argument in expr.call.args]
    for argument in reversed(arguments):
        chosen = _call("_?_:_", new_id, _is_there(argument, new_id), argument, chosen)
    chosen.id = expr.id
    expr.CopyFrom(chosen)


def _is_there(argument: Any, new_id: Callable[[], int]) -> Any:
    null = wire.Expr(id=new_id())
    null.const.null = 0
    there = _call("_!=_", new_id, argument, null)
    for presence in _presences(argument, new_id):
        there = _call("_&&_", new_id, presence, there)
    return there


def _presences(argument: Any, new_id: Callable[[], int]) -> Iterator[Any]:
    """`has(a.b.c)`, then `has(a.b)`: of every entry on the way to the argument, the innermost last."""
    entry = _as_select(argument)
    while entry is not None:
        presence = _copy(entry)
        presence.id, presence.select.test_only = new_id(), True
        yield presence
        entry = _as_select(entry.select.operand)


def _as_select(expr: Any) -> Any:
    """`a.b` and `a['b']` as a selection, anything else as None."""
    if expr.HasField("select") and not expr.select.test_only:
        return expr
    if expr.HasField("call") and expr.call.function == "_[_]" and expr.call.args[1].const.HasField("string"):
        select = wire.Expr(id=expr.id)
        select.select.operand.CopyFrom(expr.call.args[0])
        select.select.field = expr.call.args[1].const.string
        return select
    return None


def _call(function: str, new_id: Callable[[], int], *arguments: Any) -> Any:
    expr = wire.Expr(id=new_id())
    expr.call.function = function
    expr.call.args.extend(arguments)
    return expr


def _copy(expr: Any) -> Any:
    copied = wire.Expr()
    copied.CopyFrom(expr)
    return copied


def _parts(expr: Any) -> Iterator[Any]:
    """Every expression directly inside `expr`, whatever its kind."""
    for _, value in expr.ListFields():
        yield from _expressions_in(value)


def _expressions_in(value: Any) -> Iterator[Any]:
    if not hasattr(value, "ListFields"):
        return
    for descriptor, inner in value.ListFields():
        for item in inner if descriptor.is_repeated else [inner]:
            if isinstance(item, wire.Expr):
                yield item
            else:
                yield from _expressions_in(item)
