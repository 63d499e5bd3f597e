"""What pydantic found wrong with a value, as faults with pointers into the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nvisy.catalog import closest
from nvisy.graph.positions import escape


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes under which three kinds of complaints go, and what a member is called here."""

    missing: str
    unknown: str
    wrong: str
    member: str = "field"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One fault in a value: `path` leads to it; `at_name` when the member's name is at fault."""

    code: str
    message: str
    path: tuple[str | int, ...]
    hint: str = ""
    at_name: bool = False

    @property
    def pointer(self) -> str:
        """`path` as a JSON pointer."""
        return pointer_of(self.path)


def pointer_of(path: Sequence[str | int]) -> str:
    """A JSON pointer from its parts."""
    return "".join(f"/{escape(str(part))}" for part in path)


def complaints(
    error: ValidationError, model: type[BaseModel], value: Any, codes: Codes
) -> Iterator[Complaint]:
    """Everything `error` says about `value`, one complaint for each place.

    Messages never quote the value: it may hold a secret.
    """
    wrong: dict[tuple[str | int, ...], str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        path = _path(detail["loc"], value)
        if detail["type"] == "missing":
            yield Complaint(codes.missing, f'"{detail["loc"][-1]}" is missing', path)
        elif detail["type"] == "extra_forbidden":
            names = _names_at(model, path[:-1])
            hint = closest(str(path[-1]), names) or f"known: {', '.join(names) or 'none'}"
            yield Complaint(codes.unknown, f'unknown {codes.member} "{path[-1]}"', path, hint, at_name=True)
        else:  # each type that a union allows complains for itself
            former, reason = wrong.get(path), _reason(detail)
            wrong[path] = reason if former in (None, reason) else f"{former}, or {reason}"
    for path, reason in wrong.items():
        yield Complaint(codes.wrong, _subject(path) + reason, path)


def _path(location: Sequence[str | int], value: Any) -> tuple[str | int, ...]:
    """The parts of a pydantic location that lead into `value`; the rest names types and validators."""
    path: list[str | int] = []
    for part in location:
        inside = (
            part in value if isinstance(value, dict) else isinstance(value, list) and isinstance(part, int)
        )
        if inside:
            path.append(part)
            value = value[part]
    return tuple(path)


def _subject(path: Sequence[str | int]) -> str:
    return f'"{path[-1]}" ' if path and isinstance(path[-1], str) else ""


def _reason(detail: Any) -> str:
    if detail["type"] in ("value_error", "assertion_error"):
        return str(detail["ctx"]["error"])
    if detail["type"] == "string_pattern_mismatch":
        return f"should match {detail['ctx']['pattern']}"
    message = str(detail["msg"]).removeprefix("Input ").replace("False", "false").replace("True", "true")
    return message[:1].lower() + message[1:]


def _names_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Names of the fields that the object at `path` may have."""
    here: list[type[BaseModel]] = [model]
    for part in path:
        if isinstance(part, str):
            fields = [f for m in here for n, f in m.model_fields.items() if part in (n, f.alias)]
            here = [found for f in fields for found in _models_in(f.annotation)]
    return [f.alias or name for m in here for name, f in m.model_fields.items()]


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
