"""What pydantic finds wrong with a value, in sentences: `"size" ` and then what is said here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

_Context = Mapping[str, Any]
_CLASSES = re.compile(r"\^(?:\[([^]]+)\])?\[([^]]+)\]\{(\d+),(\d+)\}\$")
"""The patterns that ids and names have: a first character, or none of its own, and so many others."""
_FIXED: Mapping[str, str] = {
    "string_type": "has to be a text",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_from_float": "has to be a whole number",
    "int_parsing_size": "is too large a number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "finite_number": "has to be a finite number",
    "list_type": "has to be a list",
    "tuple_type": "has to be a list",
    "set_type": "has to be a list",
    "frozen_set_type": "has to be a list",
    "dict_type": "has to be an object",
    "mapping_type": "has to be an object",
    "model_type": "has to be an object",
    "model_attributes_type": "has to be an object",
    "path_type": "has to be a path, written as a text",
    "none_required": "has to be null",
    "url_parsing": "has to be an address",
    "url_type": "has to be an address",
    "bytes_type": "has to be a text",
}
_BOUNDED: Mapping[str, Callable[[_Context], str]] = {
    "greater_than": lambda ctx: f"has to be more than {ctx['gt']:g}",
    "greater_than_equal": lambda ctx: f"has to be at least {ctx['ge']:g}",
    "less_than": lambda ctx: f"has to be less than {ctx['lt']:g}",
    "less_than_equal": lambda ctx: f"has to be at most {ctx['le']:g}",
    "multiple_of": lambda ctx: f"has to be a multiple of {ctx['multiple_of']:g}",
    "string_too_short": lambda ctx: _at_least(ctx["min_length"], "character"),
    "string_too_long": lambda ctx: f"may have at most {ctx['max_length']} characters",
    "too_short": lambda ctx: _at_least(ctx["min_length"], "entry"),
    "too_long": lambda ctx: f"may have at most {ctx['max_length']} entries",
    "string_pattern_mismatch": lambda ctx: _matching(ctx["pattern"]),
    "literal_error": lambda ctx: f"has to be {_choices(ctx['expected'])}",
    "enum": lambda ctx: f"has to be {_choices(ctx['expected'])}",
    "value_error": lambda ctx: str(ctx["error"]),
    "assertion_error": lambda ctx: str(ctx["error"]),
}


def reason(detail: Mapping[str, Any]) -> str:
    """What is wrong, from one entry of `ValidationError.errors()`; completes a sentence that begins with the name."""
    kind = detail["type"]
    if kind in _FIXED:
        return _FIXED[kind]
    if kind in _BOUNDED:
        return _BOUNDED[kind](detail["ctx"])
    message = str(detail["msg"]).removeprefix("Input ").replace("should be", "has to be")
    return message[:1].lower() + message[1:]


def either(one: str, other: str) -> str:
    """Two reasons of which one would have to go."""
    if other in one:
        return one
    begins = "has to be "
    return f"{one} or {other.removeprefix(begins) if one.startswith(begins) else other}"


def _at_least(count: int, what: str) -> str:
    if count == 1:
        return "must not be empty"
    return (
        f"has to have at least {count} {what.removesuffix('y') + 'ies' if what.endswith('y') else what + 's'}"
    )


def _matching(pattern: str) -> str:
    if found := _CLASSES.fullmatch(pattern):
        first, others, least, most = found.groups()
        begins = f"has to begin with one of {_spaced(first)} and go on with" if first else "has to be"
        return f"{begins} {least} to {most} of {_spaced(others)}"
    return f"has to match {pattern}"


def _spaced(characters: str) -> str:
    """`A-Za-z0-9_-` as `A-Z a-z 0-9 _ -`."""
    return " ".join(re.findall(r".-.|.", characters))


def _choices(expected: str) -> str:
    """Pydantic's list of choices, `'a', 'b' or 'c'`, as JSON writes them."""
    expected = re.sub(r"\b(True|False)\b(?!')", lambda word: word[1].lower(), expected)
    return re.sub(r"'((?:[^'\\]|\\.)*)'", lambda text: json.dumps(text[1], ensure_ascii=False), expected)
