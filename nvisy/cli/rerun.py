"""`nvisy rerun`: a part of a graph once more, from a topic."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer

from nvisy.cli.durations import seconds
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.logs import log_to_stderr
from nvisy.cli.output import say, say_json
from nvisy.cli.run import Task, summary
from nvisy.errors import UsageError
from nvisy.runtime.rerun import part_of
from nvisy.runtime.settings import Settings


def command(
    graph: GraphFile,
    *,
    from_: Annotated[
        str, typer.Option("--from", metavar="NODE", help="The first node of a stage.", show_default=False)
    ],
    key: Annotated[str, typer.Option("--key", help="Only this document.", show_default=False)] = "",
    source: Annotated[
        str, typer.Option("--source", metavar="NODE", help="Whose --key is meant.", show_default=False)
    ] = "",
    failed: Annotated[bool, typer.Option("--failed", help="Only dead letters of the stage.")] = False,
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only what was written since: 2h, 1d, or 2026-03-02T07:15.",
            show_default=False,
        ),
    ] = "",
    allow_dead_letters: Annotated[
        bool, typer.Option("--allow-dead-letters", help="Exit with 0 although dead letters remain.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a node and what is below it again, on what stands in its topic.

    Nothing above the node is run, no source is asked, and every document keeps its version. What comes out as it was
    before costs a sink nothing. Nobody may be running the graph: a live run is named, and nothing is done (exit 6).
    Exits as `nvisy run` does.
    """
    log_to_stderr()
    checked = checked_graph(graph)
    with closing(Settings.from_environ().open_log()) as log:
        part = part_of(checked, log, from_, key=key, source=source, failed=failed, since_ms=_since_ms(since))
    task = Task(graph, stages=part.stages, again=part.again, replay=part.replay)
    ended = task.completed(as_json=as_json)
    say_json(ended.as_json()) if as_json else say(summary(ended, graph))
    raise typer.Exit(task.exit_code(ended, allow_dead_letters=allow_dead_letters))


def _since_ms(text: str) -> int:
    """A time, as a person writes one or as so long ago, in milliseconds since 1970; 0 for nothing."""
    if not text:
        return 0
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        pass
    else:
        return round((at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp() * 1000)
    try:
        return round((time.time() - (seconds(text) or 0.0)) * 1000)
    except UsageError:
        raise UsageError(f"{text!r} is no time: write 2h or 1d, or 2026-03-02T07:15, which is UTC") from None
