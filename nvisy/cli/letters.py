"""The options of commands about dead letters, and how they are written down."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer

from nvisy.cli.durations import seconds
from nvisy.errors import UsageError
from nvisy.graph.model import Graph
from nvisy.runtime.dead_letters import DeadLetter
from nvisy.runtime.selection import Selection

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="As `list` shows them.", show_default=False)
]
Node = Annotated[str, typer.Option("--node", help="Refused by this node.", show_default=False)]
Kind = Annotated[str, typer.Option("--kind", help="With this class of fault.", show_default=False)]
Retryable = Annotated[
    bool | None,
    typer.Option(
        "--retryable/--not-retryable", help="Whether the same bytes may pass later.", show_default=False
    ),
]
OlderThan = Annotated[
    str, typer.Option("--older-than", metavar="TIME", help="As 10m, 2h, 1d.", show_default=False)
]
NewerThan = Annotated[
    str, typer.Option("--newer-than", metavar="TIME", help="As 10m, 2h, 1d.", show_default=False)
]
Key = Annotated[str, typer.Option("--key", help="Of this document.", show_default=False)]
All = Annotated[bool, typer.Option("--all", help="All that are open.")]


def selection(
    ids: list[str] | None,
    node: str,
    kind: str,
    retryable: bool | None,
    older_than: str,
    newer_than: str,
    key: str,
) -> Selection:
    """The selection that options ask for."""
    return Selection(tuple(ids or ()), node, kind, retryable, seconds(older_than), seconds(newer_than), key)


def not_by_accident(chosen: Selection, *, everything: bool) -> Selection:
    """`chosen`, unless it says nothing, or both something and everything."""
    if chosen.is_everything is not everything:
        raise UsageError("say which dead letters are meant: ids, options such as --node, or --all alone")
    return chosen


def refuse_unknown(chosen: Selection, graph: Graph, letters: Iterable[DeadLetter]) -> None:
    """Say which nodes and kinds there are, where one is asked for that neither the graph nor an open letter has.

    Raises:
        UsageError: There is no such node, or letters are open and none is of that kind.
    """
    if not (chosen.node or chosen.kind):
        return
    nodes, kinds = [node.id for node in graph.nodes], set[str]()
    for letter in letters:  # a node that the graph no longer has may have left some
        if letter.node not in nodes:
            nodes.append(letter.node)
        kinds.add(letter.kind)
    if chosen.node and chosen.node not in nodes:
        raise UsageError(f"graph {graph.id} has no node {chosen.node!r}; there are: {', '.join(nodes)}")
    if chosen.kind and kinds and chosen.kind not in kinds:
        raise UsageError(
            f"no open dead letter is of kind {chosen.kind!r}; there are: {', '.join(sorted(kinds))}"
        )


def when(milliseconds: int) -> str:
    """A time, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
