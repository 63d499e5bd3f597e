"""Rows of JSON Lines and CSV files, with the bytes they were, in memory for one row at a time."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import orjson

from nvisy.errors import Rejected

MAX_RECORD_BYTES = 8 << 20
_BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One record as it stands in its file.

    Attributes:
        number: Of the line on which it ends, from 1.
        raw: Its bytes, without the line end; cut off behind `MAX_RECORD_BYTES`.
        parse: Gives its fields, or raises `Rejected`.
    """

    number: int
    raw: bytes
    parse: Callable[[], Mapping[str, Any]]


def jsonl_rows(file: BinaryIO) -> Iterator[Row]:
    """One row for every line that is not blank."""
    for number, line in enumerate(iter(partial(_line, file), b""), 1):
        text = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if text:
            yield Row(number, text, partial(_json_object, text, whole=line.endswith(b"\n")))


def csv_rows(file: BinaryIO, check: Callable[[list[str]], None], digest: Any) -> Iterator[Row]:
    """One row for every record after the header, which `check` may refuse and `digest` takes up.

    Raises:
        Rejected: The header is no good, or it cannot be told where the next record begins.
    """
    csv.field_size_limit(MAX_RECORD_BYTES)
    lines = _CsvLines(file)
    reader = csv.reader(lines, strict=True)
    header: list[str] | None = None
    while True:
        lines.begin()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if len(lines.taken) > 1 or header is None:
                raise Rejected(f"it is no CSV from line {lines.first} on: {error}", kind="decode") from None
            yield Row(lines.number, lines.raw, partial(_refuse, f"it is no CSV: {error}"))
            continue
        if not values:
            continue
        if header is None:
            header = _named(values)
            check(header)
            digest.update(lines.raw)
        else:
            broken = lines.broken
            parse = partial(_refuse, "it is not UTF-8") if broken else partial(_fields, header, values)
            yield Row(lines.number, lines.raw, parse)


class _CsvLines:
    """The lines of a file as text, and the bytes that the record under way consists of."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.number = 0
        self.begin()

    def begin(self) -> None:
        """The next line is the first of a record."""
        self.taken: list[bytes] = []
        self.first = self.number + 1
        self.broken = False
        self._size = 0

    @property
    def raw(self) -> bytes:
        """The record so far, without its line end."""
        return b"".join(self.taken).rstrip(b"\r\n")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._size > MAX_RECORD_BYTES:
            raise Rejected(
                f"the record that begins on line {self.first} is larger than {MAX_RECORD_BYTES >> 20} MiB, or a"
                " quote in it is never closed; nothing after it was read",
                kind="too_large",
            )
        line = _line(self._file)
        if not line:
            raise StopIteration
        self.number += 1
        line = line.removeprefix(_BOM) if self.number == 1 else line
        self.taken.append(line)
        self._size += len(line)
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.broken = True
            return line.decode("utf-8", "replace")


def _line(file: BinaryIO) -> bytes:
    """The next line with its end; one that is too long to keep is cut off, and what follows of it passed over."""
    line = rest = file.readline(MAX_RECORD_BYTES + 2)
    while rest and not rest.endswith(b"\n"):
        rest = file.readline(MAX_RECORD_BYTES)
    return line


def _json_object(raw: bytes, *, whole: bool) -> Mapping[str, Any]:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        torn = "" if whole else " (the file ends without a line end: is it still being written?)"
        raise Rejected(f"it is no JSON: {error}{torn}", kind="decode") from None
    if not isinstance(value, dict):
        raise Rejected("it is JSON, but no object", kind="decode")
    return value


def _named(names: list[str]) -> list[str]:
    """The names of a header; a column without one, which is what some writers call their row numbers, gets one."""
    named = [name or f"column_{place}" for place, name in enumerate(names, 1)]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise Rejected(f"its header names {twice[0]!r} twice; rename one of them", kind="decode")
    return named


def _fields(header: list[str], values: list[str]) -> Mapping[str, Any]:
    if len(values) != len(header):
        raise Rejected(f"it has {len(values)} fields, and the header names {len(header)}", kind="decode")
    return dict(zip(header, values, strict=True))


def _refuse(why: str) -> Mapping[str, Any]:
    raise Rejected(why, kind="decode")
