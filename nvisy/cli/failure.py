"""The one place where an exception becomes a message on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

import typer

from nvisy.errors import GraphError, NvisyError

INTERRUPTED = 130

_cleaners: list[Callable[[str], str]] = []


def clean_with(clean: Callable[[str], str]) -> None:
    """Take a graph's secrets out of every message from here on."""
    _cleaners.append(clean)


def cleaned(text: str) -> str:
    """`text` without the secrets of the graphs that were read."""
    for clean in _cleaners:
        text = clean(text)
    return text


def code_of(error: BaseException) -> int:
    """The exit code that says what kind of failure this is."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if not isinstance(error, NvisyError):
        return 1
    return error.exit_code


def message_of(error: BaseException) -> str:
    """What to tell a person, without secrets."""
    if isinstance(error, GraphError):
        return cleaned(faults_text(error))
    if isinstance(error, NvisyError):
        return cleaned(f"nvisy: {error}")
    kind, said = type(error).__name__, str(error)
    return cleaned(
        f"this is a defect of Nvisy: {kind}: {said} (at {_place(error)}; NVISY_DEBUG=1 shows all of it)"
    )


def report(error: BaseException) -> int:
    """Say what went wrong, on stderr. Returns the exit code."""
    if not isinstance(error, KeyboardInterrupt):
        typer.echo(message_of(error), err=True)
        if os.environ.get("NVISY_DEBUG") == "1":
            typer.echo(cleaned("".join(traceback.format_exception(error))), err=True)
    return code_of(error)


def faults_text(error: GraphError) -> str:
    """Every fault on a line of its own, and where to read more."""
    count, first = len(error.faults), error.faults[0].code
    errors = f"{count} error{'' if count == 1 else 's'}"
    return f"{error}\n{errors}. Run `nvisy help {first}` for more."


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "an unknown place"
    return f"{frames[-1].filename.removeprefix(f'{sys.prefix}/')}:{frames[-1].lineno}"
