"""`nvisy search`: ask a graph's index a question."""

from __future__ import annotations

from typing import Annotated

import typer

from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.hits import hit_json
from nvisy.cli.output import one_line, say, say_json
from nvisy.errors import ExpressionError, UsageError
from nvisy.query import search

_TEXT_CHARS = 200


def command(
    graph: GraphFile,
    question: Annotated[str, typer.Argument(help="Any text.", show_default=False)],
    k: Annotated[int, typer.Option("-k", help="How many records.", min=1)] = 5,
    only: Annotated[
        str, typer.Option("--filter", metavar="EXPR", help="Which records count: metadata.lang == 'en'.")
    ] = "",
    sink: Annotated[str, typer.Option("--sink", metavar="NODE", help="Which sink; else the first.")] = "",
    as_json: AsJson = False,
) -> None:
    """Ask a graph's index a question.

    The store alone is needed: the graph may be running or not.

    A filter compares key, source_uri or metadata.NAME with a value (== != < <= > >=, in [...]), asks
    has(metadata.NAME), and joins with && || !. `nvisy records GRAPH --json` shows which metadata there is.
    """
    try:
        hits = search(checked_graph(graph), question, k, only, sink=sink or None)
    except ExpressionError as error:
        raise UsageError(f"--filter, {error}") from None
    if as_json:
        say_json([hit_json(hit) for hit in hits])
        return
    for hit in hits:
        say(f"{hit.score or 0.0:6.3f}  {one_line(hit.key, 100)}\n        {one_line(hit.text, _TEXT_CHARS)}")
    if not hits:
        say("nothing found")
