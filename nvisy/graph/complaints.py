"""What pydantic found wrong with a value, as faults with pointers into the graph."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from nvisy.catalog import closest
from nvisy.graph.positions import escape
from nvisy.graph.wording import either, reason

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Codes:
    """The codes under which three kinds of complaints go, and what a member is called here."""

    missing: str
    unknown: str
    wrong: str
    member: str = "field"


@dataclass(frozen=True, slots=True)
class Complaint:
    """One fault in a value.

    Attributes:
        path: Leads to it; to the object that lacks it, where a member is missing.
        at_name: The member's name is at fault.
        missing: Name of the member that is missing, or empty.
    """

    code: str
    message: str
    path: Path
    hint: str = ""
    at_name: bool = False
    missing: str = ""

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
    wrong: dict[Path, str] = {}
    for detail in error.errors(include_url=False, include_input=False):
        path = path_of(detail["loc"], value)
        if detail["type"] == "missing":
            name = str(detail["loc"][-1])
            yield Complaint(codes.missing, f'"{name}" is missing', path, missing=name)
        elif detail["type"] == "extra_forbidden":
            names = names_at(model, path[:-1])
            hint = closest(str(path[-1]), names) or f"known: {', '.join(names) or 'none'}"
            yield Complaint(codes.unknown, f'unknown {codes.member} "{path[-1]}"', path, hint, at_name=True)
        else:  # each type that a union allows complains for itself
            former, said = wrong.get(path), reason(detail)
            wrong[path] = said if former is None else either(former, said)
    for path, said in wrong.items():
        yield Complaint(codes.wrong, _subject(path) + said, path)


def path_of(location: Sequence[str | int], value: Any) -> Path:
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


def _subject(path: Path) -> str:
    return f'"{path[-1]}" ' if path and isinstance(path[-1], str) else ""


def names_at(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
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
