"""`nvisy records`: what a graph's index holds."""

from __future__ import annotations

from typing import Annotated

import typer

from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.hits import record_json
from nvisy.cli.output import one_line, say, say_json
from nvisy.query import records


def command(
    graph: GraphFile,
    key: Annotated[str, typer.Option("--key", help="Only what came from this document.")] = "",
    sink: Annotated[str, typer.Option("--sink", metavar="NODE", help="Which sink; else the first.")] = "",
    as_json: AsJson = False,
) -> None:
    """List what a graph's index holds, by document."""
    found = False
    for hit in records(checked_graph(graph), key or None, sink=sink or None):
        found = True
        if as_json:
            say_json(record_json(hit))
        else:
            span = f"[{hit.span.start}:{hit.span.end}]" if hit.span else ""
            say(f"{hit.id}  {one_line(hit.key, 60)}{span}  {one_line(hit.text, 80)}")
    if not found and not as_json:
        say(f"no records of {one_line(key, 60)}" if key else "no records")
