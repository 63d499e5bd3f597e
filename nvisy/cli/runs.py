"""`nvisy runs`: what became of the runs of a graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nvisy.audit.runs import run_named, runs
from nvisy.cli.graphs import AsJson, checked_graph
from nvisy.cli.letters import when
from nvisy.cli.output import one_line, printable, say, say_json, say_table
from nvisy.errors import UsageError
from nvisy.runtime.run_history import RunRecord

_SHOW = "show"
_USAGE = "write `nvisy runs GRAPH`, or `nvisy runs show GRAPH ID`"


def command(
    words: Annotated[
        list[str], typer.Argument(metavar="[show] GRAPH [ID]", help="A graph file; with `show`, a run of it.")
    ],
    as_json: AsJson = False,
) -> None:
    """List the runs of a graph, the newest first; or show one of them.

    `nvisy runs show GRAPH ID` shows one, by the id in the list: when it began, how it ended, what it did and what that
    was paid. Runs of the last 90 days are remembered, in the topic `<graph>.runs`, which other programs may follow.
    """
    shows = words[0] == _SHOW and len(words) > 1
    if len(words) != (3 if shows else 1):
        raise UsageError(_USAGE)
    checked = checked_graph(Path(words[1] if shows else words[0]))
    found = runs(checked)
    if shows:
        one = run_named(found, words[2], checked.graph.id)
        if as_json:
            say_json(one.as_json())
            return
        for line in _shown(one):
            say(printable(line))
    elif as_json:
        say_json([one.as_json() for one in found])
    elif not found:
        say("no run is remembered")
    else:
        head = ("id", "began", "took", "ended", "written", "removed", "embedded", "dead letters")
        say_table(head, (_row(one) for one in found))


def _row(one: RunRecord) -> tuple[str, ...]:
    letters = "-" if one.dead_letters is None else f"{sum(one.dead_letters.values()):,}"
    return (
        one.id,
        when(one.started_ms),
        _took(one),
        one.state,
        f"{one.written:,}",
        f"{one.removed:,}",
        f"{one.model_calls:,}",
        letters,
    )


def _shown(one: RunRecord) -> Iterator[str]:
    yield f"{'run':12}{one.id}, by {one.owner}{', joined' if one.joined else ''}"
    yield f"{'graph':12}{one.graph_hash}{'' if one.stages is None else ', its stages ' + ', '.join(one.stages)}"
    yield f"{'began':12}{when(one.started_ms)} UTC, took {_took(one)}"
    code = "" if one.exit_code is None else f", exit code {one.exit_code}"
    yield f"{'ended':12}{one.state}{code}"
    if one.error:
        yield f"{'of':12}{one_line(one.error, 300)}"
    yield f"{'sinks':12}{one.written:,} written, {one.removed:,} removed, {one.unchanged:,} unchanged"
    yield f"{'models':12}{one.model_calls:,} texts embedded, {one.cache_hits:,} from the cache{_paid(one)}"
    for name, counts in one.nodes.items():
        said = ", ".join(f"{count:,} {what}" for what, count in counts.items())
        yield f"{'node':12}{name}: {said}"
    for node, count in (one.dead_letters or {}).items():
        yield f"{'letters':12}{node}: {count:,} open"
    for trouble in one.troubles:
        lives = f", process {trouble.lives}" if trouble.lives > 1 else ""
        yield f"{'trouble':12}{when(trouble.at_ms)} {trouble.stage}{lives}: {one_line(trouble.error, 200)}"


def _took(one: RunRecord) -> str:
    return "-" if one.ended_ms is None else f"{(one.ended_ms - one.started_ms) / 1000:,.1f} s"


def _paid(one: RunRecord) -> str:
    tokens = f", {one.tokens:,} tokens" if one.tokens is not None else ""
    return tokens + (f", {one.cost_usd:.4f} USD" if one.cost_usd is not None else "")
