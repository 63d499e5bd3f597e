"""JSON text to a value, and from a JSON pointer to the line and column where that value stands."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any, NoReturn

MAX_DEPTH = 64
MAX_BYTES = 8 << 20

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*|.", re.DOTALL)
_STRINGS = json.JSONDecoder()
_LITERALS = {"true": True, "false": False, "null": None}
_UNFIT = re.compile("[\0\ud800-\udfff]")
_MAX_DIGITS = 400


class JsonFault(Exception):  # noqa: N818 - becomes a `Fault` with its file
    """Text that is not JSON, or not JSON that we take: `message` says why, `hint` what to write instead."""

    def __init__(self, code: str, message: str, line: int, column: int, hint: str = "") -> None:
        self.code = code
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Positions:
    """Where each value and each member's name of a JSON text starts. Lines and columns count from 1."""

    values: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    lines: list[int] = field(default_factory=lambda: [0])

    def of(self, pointer: str, *, name: bool = False) -> tuple[int, int]:
        """Line and column of the value at `pointer`, or of its name; of what encloses it if it is missing."""
        places = self.names if name and pointer in self.names else self.values
        while pointer and pointer not in places:
            pointer = pointer.rpartition("/")[0]
        return self.place(places.get(pointer, 0))

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column of a character."""
        line = bisect_right(self.lines, offset)
        return line, offset - self.lines[line - 1] + 1


def too_large() -> JsonFault:
    """The fault of a text that is larger than a graph may be."""
    return JsonFault("NV1004", f"the text is larger than {MAX_BYTES >> 20} MiB", 1, 1)


def escape(part: str) -> str:
    """A member's name as a part of a JSON pointer."""
    return part.replace("~", "~0").replace("/", "~1")


def scan(text: str) -> tuple[Any, Positions]:
    """The value that `text` holds, and where everything in it stands.

    Stricter than `json.loads`: a name may appear once in an object, NaN is no number, and text has to be
    valid Unicode without NUL, so that whatever comes out can be written anywhere.

    Raises:
        JsonFault: It is not JSON, or it is too large or nested too deeply.
    """
    if len(text) > MAX_BYTES:
        raise too_large()
    return _Scanner(text).document()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places = Positions(lines=[0, *(match.end() for match in re.finditer("\n", text))])

    def document(self) -> tuple[Any, Positions]:
        self._skip()
        value = self._value("", 1)
        if self.at < len(self.text):
            self._fail("unexpected text after the end of the JSON value")
        return value, self.places

    def _value(self, pointer: str, depth: int) -> Any:
        self.places.values[pointer] = self.at
        start = self._peek()
        if start in ("{", "["):
            if depth > MAX_DEPTH:
                self._fail(f"nested more than {MAX_DEPTH} levels deep", code="NV1004")
            return self._object(pointer, depth) if start == "{" else self._array(pointer, depth)
        if start == '"':
            return self._string()
        if start == "-" or start.isdigit():
            return self._number()
        return self._literal()

    def _object(self, pointer: str, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self._take()
        while self._more("}", first=not members):
            at = self.at
            if self._peek() != '"':
                self._fail("expected a name in double quotes", hint=self._hint(self._peek()))
            name = self._string()
            if name in members:
                self._fail(
                    f'"{name}" appears twice in this object', at=at, code="NV1003", hint="keep one of them"
                )
            if self._peek() != ":":
                self._fail('expected ":" after the name')
            self._take()
            below = f"{pointer}/{escape(name)}"
            self.places.names[below] = at
            members[name] = self._value(below, depth + 1)
        return members

    def _array(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        self._take()
        while self._more("]", first=not items):
            items.append(self._value(f"{pointer}/{len(items)}", depth + 1))
        return items

    def _more(self, closing: str, *, first: bool) -> bool:
        """Go to the next member, or past the closing bracket."""
        if self._peek() == closing:
            self._take()
            return False
        if first:
            return True
        if self._peek() != ",":
            self._fail(f'expected "," or "{closing}"', hint=self._hint(self._peek()))
        comma = self.at
        self._take()
        if self._peek() == closing:
            self._fail(f'a "," before "{closing}"', at=comma, hint="remove the comma")
        return True

    def _string(self) -> str:
        start = self.at
        try:
            value, self.at = _STRINGS.raw_decode(self.text, start)
        except ValueError as error:
            message = str(getattr(error, "msg", error)).removesuffix(" at").lower()
            self._fail(f"in this text: {message}", at=getattr(error, "pos", start))
        if unfit := _UNFIT.search(value):
            self._fail(f"this text holds U+{ord(unfit[0]):04X}, which cannot be stored", at=start)
        self._skip()
        return str(value)

    def _number(self) -> int | float:
        match = _NUMBER.match(self.text, self.at)
        if match is None or self.text[match.end() : match.end() + 1].isalnum():
            self._fail("this is not a number", hint="as in 10, -0.5 or 1e6")
        if len(match[0]) > _MAX_DIGITS:
            self._fail("this number has too many digits")
        value = float(match[0]) if match[1] or match[2] else int(match[0])
        if value in (float("inf"), float("-inf")):
            self._fail("this number is too large")
        self.at = match.end()
        self._skip()
        return value

    def _literal(self) -> bool | None:
        word = _WORD.match(self.text, self.at)
        if word is None:
            self._fail("the text ends too early")
        if word[0] not in _LITERALS:
            self._fail(f"unexpected {word[0]!r}", hint=self._hint(word[0]))
        self.at = word.end()
        self._skip()
        return _LITERALS[word[0]]

    def _hint(self, word: str) -> str:
        if word == "'":
            return "write text in double quotes"
        if word in ("/", "#"):
            return 'JSON has no comments; a "_comment" member is ignored'
        lowered = {"none": "null"}.get(word.lower(), word.lower())
        return f"write {lowered}" if lowered in _LITERALS else ""

    def _peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def _take(self) -> None:
        self.at += 1
        self._skip()

    def _skip(self) -> None:
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr] # matches the empty text too

    def _fail(self, message: str, *, at: int | None = None, code: str = "NV1002", hint: str = "") -> NoReturn:
        line, column = self.places.place(min(self.at if at is None else at, len(self.text)))
        raise JsonFault(code, message, line, column, hint)
