"""`nvisy explain`: how a graph would run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from nvisy.cli.failure import cleaned
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.output import say, say_json
from nvisy.errors import UsageError
from nvisy.plan.compile import compile_graph
from nvisy.plan.drawing import mermaid, text
from nvisy.plan.explain import explain
from nvisy.plan.rights import Right, rights


def command(
    graph: GraphFile,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid diagram.")] = False,
    acls: Annotated[bool, typer.Option("--acls", help="Print the rights it needs on Kafka.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how a graph would run: stages, topics, delivery, models."""
    if as_mermaid and (acls or as_json):
        raise UsageError("--mermaid stands alone")
    checked = checked_graph(graph)
    plan = compile_graph(checked)
    if acls:
        needed = rights(checked, plan)
        say_json([asdict(right) for right in needed]) if as_json else say(cleaned(_listed(needed)))
        return
    explanation = explain(checked, plan)
    if as_json:
        say_json(explanation.as_json())
    else:
        say(cleaned(mermaid(explanation) if as_mermaid else text(explanation)).rstrip("\n"))


def _listed(needed: tuple[Right, ...]) -> str:
    """One line of arguments for Kafka's own tool each, and what it is for."""
    lines = [
        "# kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal User:NAME …, once for each line:"
    ]
    return "\n".join([*lines, *(f"{right.command()}  # {right.why}" for right in needed)])
