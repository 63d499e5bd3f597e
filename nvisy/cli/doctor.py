"""`nvisy doctor`: what is wrong here, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nvisy.cli.failure import cleaned, message_of
from nvisy.cli.graphs import AsJson, checked_graph
from nvisy.cli.output import say, say_json
from nvisy.doctor import Finding, examine, examine_graph
from nvisy.errors import NvisyError

_MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


def command(
    graph: Annotated[
        Path | None,
        typer.Argument(metavar="[GRAPH]", help="Check what it connects to, too.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check this installation and what it can reach.

    Exits with 3 where something cannot be reached, with 1 where something else is wrong.
    """
    findings = list(examine())
    if graph is not None:
        findings += _of_graph(graph)
    if as_json:
        say_json([{**asdict(one), "detail": cleaned(one.detail)} for one in findings])
    else:
        for one in findings:
            say(cleaned(f"{_MARKS[one.state]} {one.name:10} {one.detail}"))
            if one.fix:
                say(f"  {'':10} → {one.fix}")
    raise typer.Exit(max((one.exit_code for one in findings), default=0))


def _of_graph(path: Path) -> list[Finding]:
    try:
        return list(examine_graph(checked_graph(path)))
    except NvisyError as error:
        return [Finding("graph", "failed", message_of(error), f"nvisy lint {path}", error.exit_code)]
