"""What commands write on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer

_DUMPED_BYTES = 16


def say(text: str) -> None:
    """A line, or several, for people."""
    _write(f"{text}\n")


def say_json(value: Any) -> None:
    """A value for machines, on one line, in ASCII so that no terminal can spoil it."""
    _write(json.dumps(value, allow_nan=False) + "\n")


def say_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns, as wide as what is in them; the last one may be of any length."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def printable(text: str) -> str:
    """`text` with control characters escaped, so that a document cannot drive the terminal that shows it."""
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def one_line(text: str, length: int) -> str:
    """`text` on one line of at most `length` characters."""
    flat = _flat(text[: 4 * length])
    return flat if len(flat) <= length else f"{flat[: length - 1]}…"


def one_line_shown(text: str, length: int) -> str:
    """`text` on one line, cut to `length` characters on a terminal and whole where a program may read it."""
    return one_line(text, length) if is_terminal() else _flat(text)


def is_terminal() -> bool:
    """Whether a person reads what is written, as far as one can tell."""
    return sys.stdout.isatty()


def hexdump(content: bytes) -> str:
    """Bytes sixteen to a line, each line with its offset and what of it is ASCII."""
    lines = []
    for offset in range(0, len(content), _DUMPED_BYTES):
        row = content[offset : offset + _DUMPED_BYTES]
        plain = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{offset:06x}  {row.hex(' '):{3 * _DUMPED_BYTES}} {plain}")
    return "\n".join(lines)


def _flat(text: str) -> str:
    return printable(" ".join(text.split()))


def _write(text: str) -> None:
    try:
        sys.stdout.write(text)
    except BrokenPipeError:  # whoever read this, such as `head`, has seen enough
        raise typer.Exit from None


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
