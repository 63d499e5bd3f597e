"""What is checked when an expression is compiled, beyond what CEL's own compiler checks."""

from __future__ import annotations

from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]

from nvisy.errors import ExpressionError
from nvisy.expressions.faults import runtime_cause
from nvisy.expressions.fields import CHECKED_AS, FieldType
from nvisy.expressions.syntax import Node
from nvisy.expressions.values import to_cel

_NOT_FOR_RECORDS = frozenset({"type", "duration", "timestamp"})
_HINTS = {
    FieldType.BOOL: "compare it with something, as with == or >",
    FieldType.STRING: "write string(…)",
    FieldType.INT: "write int(…)",
    FieldType.DOUBLE: "write double(…)",
}


def check_result(given: Any, wanted: FieldType) -> None:
    """Refuse an expression that cannot give what is wanted.

    Args:
        given: The CEL type that the compiler found.
        wanted: The type it has to have; DYN is any that a record can hold.

    Raises:
        ExpressionError: It is another type.
    """
    name = given.name().lower()
    base = name.partition("<")[0]
    if base in _NOT_FOR_RECORDS and wanted is not FieldType.TIMESTAMP:
        raise ExpressionError(
            f"it gives a {base}, which no record can hold", column=1, hint="write string(…)"
        )
    if not _fits(name, base, wanted):
        given_name = base if "dyn" in name else name
        message = f"it gives {given_name}, but {wanted.value} is needed here"
        raise ExpressionError(message, column=1, hint=_HINTS.get(wanted))


def _fits(name: str, base: str, wanted: FieldType) -> bool:
    if wanted is FieldType.DYN or base == "dyn":
        return True
    if base == "null":
        return wanted.nullable
    if wanted is FieldType.STRINGS:
        return name in {"list<string>", "list<dyn>"}
    plain = FieldType[wanted.name.removeprefix("NULLABLE_")]
    expected: str = CHECKED_AS[plain].name().lower()
    return base == expected.partition("<")[0]


def check_patterns(node: Node) -> None:
    """Refuse a constant pattern of `matches` that is no regular expression: it would fail every record.

    Raises:
        ExpressionError: Such a pattern, with its column.
    """
    if node.kind == "call" and node.name == "matches":
        _check_pattern(node.children[-1])
    for child in node.children:
        check_patterns(child)


def _check_pattern(node: Node) -> None:
    if not isinstance(node.value, str):
        return
    environment = cel.NewEnv(variables={"pattern": cel.Type.DYN})
    outcome = environment.compile("''.matches(pattern)").eval(data={"pattern": to_cel(node.value)})
    if outcome.type() == cel.Type.ERROR:
        raise ExpressionError(runtime_cause(outcome.plain_value()), column=node.column)
