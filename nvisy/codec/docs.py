"""The sentences that a class says about its fields, for schemas that people read in a registry."""

from __future__ import annotations

import inspect
import re

_FIELD = re.compile(r"    (\w+): (.*)")


def summary(cls: type) -> str:
    """The first line of the docstring of `cls`, or empty."""
    return (cls.__doc__ or "").strip().split("\n", 1)[0]


def field_docs(cls: type) -> dict[str, str]:
    """What the `Attributes:` section of `cls` and of its bases says about each field."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs.update(_attributes(inspect.cleandoc(base.__doc__ or "")))
    return docs


def _attributes(docstring: str) -> dict[str, str]:
    docs: dict[str, str] = {}
    name = ""
    section = docstring.partition("\nAttributes:\n")[2]
    for line in section.split("\n"):
        if match := _FIELD.fullmatch(line):
            name = match[1]
            docs[name] = match[2]
        elif name and line.startswith("        "):
            docs[name] += " " + line.strip()
        elif line.strip():
            break
    return docs
