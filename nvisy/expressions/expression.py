"""Compiling an expression against the fields of a record, and evaluating it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cel_expr_python import cel  # type: ignore[import-untyped]
from cel_expr_python.ext import ext_strings  # type: ignore[import-untyped]

from nvisy.errors import ExpressionError, Rejected
from nvisy.expressions import coalesce, wire
from nvisy.expressions.checks import check_patterns, check_result
from nvisy.expressions.faults import compile_error, runtime_cause
from nvisy.expressions.fields import CHECKED_AS, FieldType
from nvisy.expressions.syntax import names_used, tree_of
from nvisy.expressions.values import Unfit, binder, from_cel, recognizer, type_name

_ERROR = cel.Type.ERROR
_EVALUATOR = cel.NewEnv(extensions=[ext_strings.ExtStrings()])
"""Where checked expressions run. It declares no variables: typed ones would take neither None nor the wrapped
text by which `values.to_cel` gets a NUL character across, and the compiler has checked their use already."""


class Expression:
    """A checked expression: call it with a record.

    Only the fields it uses are read from the record and handed to CEL, so that its cost does not depend on
    the size of the rest. One worker thread calls it at a time.

    Attributes:
        text: The expression as it was written.
        result: The type it gives.
        fields: Names of the fields it uses.
    """

    def __init__(self, text: str, fields: Mapping[str, FieldType], result: FieldType, checked: Any) -> None:
        """Of a `CheckedExpr` message; use `compile`."""
        used = names_used(tree_of(checked), fields)
        self.text = text
        self.result = result
        self.fields = frozenset(used)
        self._is_result = recognizer(result)
        self._binders = [(name, binder(fields[name], entries)) for name, entries in used.items()]
        self._evaluate = _EVALUATOR.deserialize(wire.pack(checked)).eval

    def __call__(self, record: Any) -> Any:
        """The value of the expression for one record.

        Args:
            record: A mapping of field names to values, or an object with such attributes.

        Returns:
            A plain Python value: str, int, float, bool, None, bytes, a list or a dict of those; a datetime
            where TIMESTAMP was asked for.

        Raises:
            Rejected: The record has no value for this expression (kind `expression`).
        """
        value = self._value(self._project(record))
        if not self._is_result(value):
            raise self._rejected(f"it gives {type_name(value)}, not {self.result.value}")
        return value

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def _value(self, bound: dict[str, Any]) -> Any:
        try:
            outcome = self._evaluate(data=bound)
            value = outcome.plain_value()
            if type(value) is bool:
                return value
            if type(value) is str and outcome.type() == _ERROR:
                raise self._rejected(runtime_cause(value))
            return value if self.result is FieldType.TIMESTAMP else from_cel(value)
        except RuntimeError as error:
            raise self._rejected(runtime_cause(str(error))) from None
        except Unfit as error:
            raise self._rejected(f"the result {error}") from None

    def _project(self, record: Any) -> dict[str, Any]:
        is_mapping = isinstance(record, Mapping)
        bound = {}
        for name, bind in self._binders:
            try:
                bound[name] = bind(record[name] if is_mapping else getattr(record, name))
            except Unfit as error:
                raise self._rejected(f"field {name!r} {error}") from None
            except (KeyError, AttributeError):
                raise self._rejected(f"the record has no field {name!r}") from None
        return bound

    def _rejected(self, cause: str) -> Rejected:
        return Rejected(f"expression `{self.text}`: {cause}", kind="expression")


def compile(  # noqa: A001 - `re.compile` reads the same way
    text: str, fields: Mapping[str, FieldType], result: FieldType | None = None
) -> Expression:
    """Check an expression against the fields of a record and make it ready to run.

    Args:
        text: The expression.
        fields: Every field it may use, with its type.
        result: The type it has to give: BOOL for the `when` of a filter. Where CEL cannot know (an entry of
            `metadata`), each record's result is checked instead. None is any type that a record can hold.

    Raises:
        ExpressionError: It does not parse, uses a field that does not exist, or its types do not fit.
    """
    wanted = result or FieldType.DYN
    checked, given = check(text, fields)
    check_result(given, wanted)
    check_patterns(tree_of(checked))
    coalesce.expand(checked)
    return Expression(text, fields, wanted, checked)


def check(text: str, fields: Mapping[str, FieldType]) -> tuple[Any, Any]:
    """The `CheckedExpr` message of an expression and the CEL type of its result.

    Raises:
        ExpressionError: As `compile`.
    """
    environment = cel.NewEnv(
        variables={name: CHECKED_AS[field_type] for name, field_type in fields.items()},
        extensions=[ext_strings.ExtStrings()],
        functions=[coalesce.declaration()],
    )
    try:
        compiled = environment.compile(_encodable(text))
    except RuntimeError as error:
        raise compile_error(str(error), text, fields) from None
    return wire.unpack(compiled.serialize()), compiled.return_type()


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ExpressionError(
            "half of a surrogate pair, which is not valid Unicode", column=error.start + 1
        ) from None
    return text
