"""`nvisy help`: what a code means."""

from __future__ import annotations

from typing import Annotated

import typer

from nvisy.catalog import closest
from nvisy.cli.graphs import AsJson
from nvisy.cli.output import say, say_json, say_table
from nvisy.errors import UsageError
from nvisy.graph.codes import CODES


def command(
    code: Annotated[
        str, typer.Argument(help="A code; without one, all are listed.", show_default=False)
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Explain a code such as NV1203."""
    wanted = [code.upper()] if code else list(CODES)
    if wanted[0] not in CODES:
        hint = closest(wanted[0], CODES)
        raise UsageError(
            f'there is no code "{code}"' + (f"; {hint}" if hint else "; `nvisy help` lists them all")
        )
    if as_json:
        say_json([{"code": name, **CODES[name]._asdict()} for name in wanted])
    elif code:
        say(f"{wanted[0]}: {CODES[wanted[0]].title}\n\n{CODES[wanted[0]].text}")
    else:
        say_table(("code", "what"), [(name, CODES[name].title) for name in wanted])
