"""Reading the graph that a command is about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nvisy.cli.failure import clean_with
from nvisy.graph.validate import CheckedGraph, check_file

GraphFile = Annotated[Path, typer.Argument(metavar="GRAPH", help="A graph file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def checked_graph(path: Path) -> CheckedGraph:
    """The graph, checked against what is installed; its secrets stay out of every message from here on.

    Raises:
        GraphError: With everything that is wrong with it.
        UsageError: There is no such file.
    """
    checked = check_file(path)
    clean_with(checked.redactor.clean)
    return checked
