"""`${…}` references in a graph: resolved in memory when a node is built, never stored, printed or hashed.

`${VAR}` is an environment variable, `${VAR:-default}` one that may be unset or empty, `${file:/path}` the
content of a file without its last line end; `$${` stands for `${` itself. References are looked for inside
strings, after the JSON was parsed, so that no value can change the structure of a graph.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from nvisy.graph.positions import escape

_REFERENCE = re.compile(
    r"\$\$\{|\$\{(?:file:(?P<file>[^}]+)|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?)\}|\$\{"
)
_PASSWORD = re.compile(r"password\s*=\s*('(?:[^'\\]|\\.)*'|\S+)")
_MAX_FILE_BYTES = 64 << 10
_SHORTEST_SECRET = 4


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A reference that leads nowhere: `pointer` is below the value that was resolved."""

    code: str
    message: str
    pointer: str
    hint: str


@dataclass(slots=True)
class Resolved:
    """A value without references.

    Attributes:
        value: What a node is built from. Holds secrets.
        secrets: Every text that came from outside the graph.
        unresolved: References that lead nowhere; they stand in `value` as they were written.
        pointers: Where a reference was resolved, below the value.
    """

    value: Any = field(default=None, repr=False)
    secrets: set[str] = field(default_factory=set, repr=False)
    unresolved: list[Unresolved] = field(default_factory=list)
    pointers: set[str] = field(default_factory=set)


def resolve(value: Any, environ: Mapping[str, str], folder: Path) -> Resolved:
    """Replace every reference inside the strings of a JSON value; relative file paths start at `folder`."""
    resolved = Resolved()
    resolved.value = _Resolver(environ, folder, resolved).walk(value, "")
    return resolved


class _Resolver:
    def __init__(self, environ: Mapping[str, str], folder: Path, resolved: Resolved) -> None:
        self._environ = environ
        self._folder = folder
        self._resolved = resolved

    def walk(self, value: Any, pointer: str) -> Any:
        if isinstance(value, str):
            return _REFERENCE.sub(lambda match: self._replacement(match, pointer), value)
        if isinstance(value, Mapping):
            return {name: self.walk(member, f"{pointer}/{escape(name)}") for name, member in value.items()}
        if isinstance(value, list | tuple):
            return [self.walk(item, f"{pointer}/{index}") for index, item in enumerate(value)]
        return value

    def _replacement(self, match: re.Match[str], pointer: str) -> str:
        if match[0] == "$${":
            return "${"
        if match["file"]:
            return self._file(match, pointer)
        if match["name"]:
            return self._variable(match, pointer)
        hint = "write ${NAME}, ${NAME:-default} or ${file:/path}; for the characters themselves, $${"
        return self._unresolved("NV1401", "a ${ that begins no reference", match, pointer, hint)

    def _variable(self, match: re.Match[str], pointer: str) -> str:
        name, default = match["name"], match["default"]
        value = self._environ.get(name)
        if value or (value is not None and default is None):
            return self._found(value, pointer)
        if default is not None:
            return str(default)
        hint = f"set it, or write ${{{name}:-…}}"
        return self._unresolved("NV1402", f"{name} is not set and has no default", match, pointer, hint)

    def _file(self, match: re.Match[str], pointer: str) -> str:
        try:
            with (self._folder / match["file"]).open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
            content = data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            return self._unreadable(match, pointer, "it is not UTF-8 text")
        except (OSError, ValueError) as error:
            return self._unreadable(match, pointer, getattr(error, "strerror", None) or str(error))
        if len(data) > _MAX_FILE_BYTES:
            return self._unreadable(match, pointer, f"it is larger than {_MAX_FILE_BYTES >> 10} KiB")
        return self._found(content, pointer)

    def _unreadable(self, match: re.Match[str], pointer: str, reason: str) -> str:
        message = f"cannot read {match['file']}: {reason}"
        hint = f"a relative path starts at {self._folder}"
        return self._unresolved("NV1403", message, match, pointer, hint)

    def _found(self, value: str, pointer: str) -> str:
        self._resolved.secrets.add(value)
        self._resolved.pointers.add(pointer)
        return value

    def _unresolved(self, code: str, message: str, match: re.Match[str], pointer: str, hint: str) -> str:
        self._resolved.unresolved.append(Unresolved(code, message, pointer, hint))
        self._resolved.pointers.add(pointer)
        return match[0]


class Redactor:
    """Takes secrets out of text that people will see.

    Knows each secret as it is, as a URL or JSON writes it, and the password inside an address. What is
    shorter than four characters is left: it would blank out half of every message, and protect nothing.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        written = {form for secret in secrets for part in _parts(secret) for form in _forms(part)}
        longest_first = sorted(
            (form for form in written if len(form) >= _SHORTEST_SECRET), key=len, reverse=True
        )
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """`text` with `***` for every secret."""
        return self._pattern.sub("***", text) if self._pattern else text

    def __repr__(self) -> str:
        return "Redactor(…)"


def _parts(secret: str) -> Iterable[str]:
    """The secret and the password within, where it is a database's or server's address."""
    yield secret
    try:
        password = urlsplit(secret).password if "://" in secret else None
    except ValueError:
        password = None
    if password:
        yield password
        yield unquote(password)
    for match in _PASSWORD.finditer(secret):
        yield match[1].strip("'")


def _forms(secret: str) -> Iterable[str]:
    return secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]
