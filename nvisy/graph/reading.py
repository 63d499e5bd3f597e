"""A JSON value to a model; of a value that is wrong, as much as can be read, and each fault once.

A misspelled name that is near a known one is read as that one, so that it does not count as missing besides.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError, create_model

from nvisy.graph.complaints import Codes, Complaint, Path, complaints, names_at, path_of

_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Reading(Generic[_M]):
    """What could be made of a value.

    Attributes:
        typed: The model, where nothing is wrong.
        complaints: What is wrong.
        spelled: The value with its misspelled names put right.
        faulty: Names of its members that are at fault or missing; the empty name where it is at fault as a whole.
    """

    model: type[_M]
    typed: _M | None
    complaints: tuple[Complaint, ...]
    spelled: Any
    faulty: frozenset[str]

    def defaulted(self) -> _M | None:
        """The model with defaults in place of what is at fault, or nothing where that cannot be."""
        if self.typed is not None or not isinstance(self.spelled, dict):
            return self.typed
        kept = {name: value for name, value in self.spelled.items() if name not in self.faulty}
        try:
            return self.model.model_validate(kept, by_alias=True, by_name=False)
        except ValidationError:
            return None

    def partial(self, unknown: Collection[str] = (), context: Any = None) -> _M:
        """The model without the attributes that are at fault, or whose value is `unknown`.

        Whoever asks for one of them meets an AttributeError; what does not need them still gets its answer.
        """
        lacking = self.faulty | frozenset(unknown)
        if self.typed is not None and not lacking:
            return self.typed
        if not isinstance(self.spelled, dict) or "" in lacking:
            return _bare(self.model, {})
        fields = {
            name: field
            for name, field in self.model.model_fields.items()
            if not {name, field.alias} & lacking
        }
        wanted = {field.alias or name for name, field in fields.items()}
        lenient: Any = create_model(
            f"Partial{self.model.__name__}",
            __config__=self.model.model_config,
            **{name: (field.annotation, field) for name, field in fields.items()},  # type: ignore[call-overload]
        )
        kept = {name: value for name, value in self.spelled.items() if name in wanted}
        try:
            read = lenient.model_validate(kept, by_alias=True, by_name=False, context=context)
        except ValidationError:  # a validator of the model's own has made another value of one of them
            return _bare(self.model, {})
        return _bare(self.model, read.__dict__)


def read(model: type[_M], value: Any, codes: Codes, context: Any = None) -> Reading[_M]:
    """Read `value`, whose members are named as in JSON."""
    try:
        typed = model.model_validate(value, by_alias=True, by_name=False, context=context)
    except ValidationError as error:
        return _with_faults(model, value, codes, context, error)
    return Reading(model, typed, (), value, frozenset())


def _with_faults(
    model: type[_M], value: Any, codes: Codes, context: Any, error: ValidationError
) -> Reading[_M]:
    spelled, meant = _spelled(model, value, error)
    found = [one for one in complaints(error, model, value, codes) if one.path in meant]
    faulty: set[str] = set()
    try:
        model.model_validate(spelled, by_alias=True, by_name=False, context=context)
    except ValidationError as rest:
        written = {(*path[:-1], name): path[-1] for path, name in meant.items()}
        for one in complaints(rest, model, spelled, codes):
            faulty.add(str(one.path[0]) if one.path else one.missing)
            found.append(_moved(one, written))
    return Reading(model, None, tuple(found), spelled, frozenset(faulty))


def _spelled(model: type[BaseModel], value: Any, error: ValidationError) -> tuple[Any, Mapping[Path, str]]:
    """A copy of the value with its misspelled names put right, and what each of them was meant to be."""
    meant: dict[Path, str] = {}
    spelled = copy.deepcopy(value)
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] != "extra_forbidden":
            continue
        path = path_of(detail["loc"], value)
        members = spelled
        for part in path[:-1]:
            members = members[part]
        free = [name for name in names_at(model, path[:-1]) if name not in members]
        if near := get_close_matches(str(path[-1]), free, n=1):
            members[near[0]] = members.pop(path[-1])
            meant[path] = near[0]
    return spelled, meant


def _moved(complaint: Complaint, written: Mapping[Path, str | int]) -> Complaint:
    """The complaint with names as they were written."""
    path = tuple(written.get(complaint.path[: end + 1], part) for end, part in enumerate(complaint.path))
    return replace(complaint, path=path)


def _bare(model: type[_M], attributes: Mapping[str, Any]) -> _M:
    made = model.model_construct()
    made.__dict__.clear()
    made.__dict__.update(attributes)
    return made
