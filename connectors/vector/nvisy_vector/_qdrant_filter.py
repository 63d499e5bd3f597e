"""Search filters as Qdrant's own, as far as it has them."""

from __future__ import annotations

from collections.abc import Iterable

from qdrant_client import models

from nvisy.expressions.filter import And, Compare, Contains, Field, Filter, Has, In, Not, Operand, Or

_RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


class _Unknown(Exception):  # noqa: N818 - never leaves this module
    """Qdrant has no such filter."""


def translate(where: Filter) -> models.Filter | None:
    """The filter in Qdrant's form; None where Qdrant has none, as for the order of texts."""
    try:
        return _translate(where)
    except _Unknown:
        return None


def _translate(where: Filter) -> models.Filter:  # noqa: PLR0911 - one for each kind of filter
    match where:
        case Compare(field, "==", value):
            return _equal(field, value)
        case Compare(field, "!=", value):
            return models.Filter(must=[_there(field)], must_not=[_equal(field, value)])
        case Compare(field, op, value):
            if isinstance(value, str):
                raise _Unknown
            return _only(models.FieldCondition(key=_path(field), range=models.Range(**{_RANGES[op]: value})))
        case In(field, values):
            return _any([_equal(field, value) for value in values])
        case Contains(field, value):
            return _only(models.FieldCondition(key=f"{_path(field)}[]", match=models.MatchValue(value=value)))
        case Has(field):
            return _there(field)
        case And(parts):
            return models.Filter(must=[_translate(part) for part in parts])
        case Or(parts):
            return _any([_translate(part) for part in parts])
        case Not(part):
            return models.Filter(must_not=[_translate(part)])


def _equal(field: Field, value: Operand) -> models.Filter:
    path = _path(field)
    if isinstance(value, str):
        same = models.MatchValue(value=value)
        listed = models.FieldCondition(key=f"{path}[]", match=same)  # a list is not its only element
        return models.Filter(must=[models.FieldCondition(key=path, match=same)], must_not=[listed])
    if isinstance(value, bool):
        return _only(models.FieldCondition(key=path, match=models.MatchValue(value=value)))
    return _only(models.FieldCondition(key=path, range=models.Range(gte=value, lte=value)))


def _there(field: Field) -> models.Filter:
    """Qdrant cannot tell an empty list from none, so each record names the metadata that it has."""
    if len(field) == 1:
        return models.Filter(must_not=[models.IsNullCondition(is_null=models.PayloadField(key=field[0]))])
    return _only(models.FieldCondition(key="metadata_fields", match=models.MatchValue(value=field[1])))


def _path(field: Field) -> str:
    if len(field) == 1:
        return field[0]
    if '"' in field[1]:
        raise _Unknown
    return f'metadata."{field[1]}"'


def _only(condition: models.Condition) -> models.Filter:
    return models.Filter(must=[condition])


def _any(filters: Iterable[models.Filter]) -> models.Filter:
    return models.Filter(should=list(filters) or [models.HasIdCondition(has_id=[])])
