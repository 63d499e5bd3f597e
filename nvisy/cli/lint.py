"""`nvisy lint`: everything that is wrong with a graph, in one go."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from nvisy.cli.failure import cleaned, faults_text
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.output import say, say_json
from nvisy.errors import Fault, GraphError
from nvisy.plan.compile import compile_graph


def command(graph: GraphFile, as_json: AsJson = False) -> None:
    """Say everything that is wrong with a graph, each with its place.

    Exits with 1 where there is something.
    """
    error = _wrong(graph)
    faults: list[Fault] = error.faults if error else []
    if as_json:
        say_json(
            [
                {
                    name: cleaned(str(value)) if isinstance(value, str) else value
                    for name, value in asdict(fault).items()
                }
                for fault in faults
            ]
        )
    else:
        say(cleaned(faults_text(error)) if error else f"{graph}: nothing is wrong")
    raise typer.Exit(int(bool(faults)))


def _wrong(graph: Path) -> GraphError | None:
    try:
        compile_graph(checked_graph(graph))
    except GraphError as error:
        return error
    return None
