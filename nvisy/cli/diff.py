"""`nvisy diff`: what a change of a graph makes its next run do over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from nvisy.cli.failure import message_of
from nvisy.cli.graphs import AsJson, checked_graph
from nvisy.cli.output import printable, say, say_json
from nvisy.errors import Unreachable
from nvisy.plan.diff import GraphDiff, StageEffect, diff
from nvisy.runtime.settings import Settings


def command(
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="The graph as it was run last.", show_default=False)
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The graph as it is to be.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Say what a change of a graph makes its next run do over, and why.

    Which stages read their topics again, which models they ask, what the sinks refuse. Nothing is run and nothing is
    changed; of the log only the sizes of topics are read, and without it they are left out.
    """
    found = diff(checked_graph(old), checked_graph(new))
    sizes = _sizes({topic for stage in found.stages for topic in stage.reads})
    if as_json:
        say_json({**found.as_json(), "changes": sizes})
        return
    for line in _lines(found, sizes):
        say(printable(line))


def _sizes(topics: set[str]) -> dict[str, int]:
    """How many changes topics hold, those that are there."""
    try:
        with closing(Settings.from_environ().open_log()) as log:
            infos = [info for topic in sorted(topics) if (info := log.describe(topic)) is not None]
    except Unreachable as error:
        typer.echo(f"{message_of(error)}; how much there is to do over is left out", err=True)
        return {}
    return {info.name: sum(info.end.values()) - sum(info.start.values()) for info in infos}


def _lines(found: GraphDiff, sizes: Mapping[str, int]) -> Iterator[str]:
    if found.is_same:
        yield "the next run does nothing over"
    for stage in found.stages:
        yield from _stage(stage, sizes)
    for stage_id in found.gone:
        yield f"stage {stage_id} is gone; what its topics hold stays in the log"
    for reason in found.refused:
        yield f"will be refused: {reason}"
    yield from found.remarks
    if not found.is_same and (same := [one.stage for one in found.stages if one.effect == "same"]):
        yield f"as before: {', '.join(same)}"


def _stage(one: StageEffect, sizes: Mapping[str, int]) -> Iterator[str]:
    topics = ", ".join(f"{topic}{_size(sizes.get(topic))}" for topic in one.reads)
    match one.effect:
        case "same":
            return
        case "reads_again":
            anew = f"reads {topics} from the beginning" if topics else "passes over its source in full"
            yield f"stage {one.stage} {anew}"
        case "gets_again":
            yield f"stage {one.stage} gets every document once more from {topics}"
        case "lists_again":
            yield f"stage {one.stage} lists its source with other parameters; what it no longer finds is deleted"
        case "from_now_on":
            yield f"stage {one.stage} does otherwise from now on"
    yield from (f"  {reason}" for reason in one.why)
    yield from (f"  asks {model} for texts that its cache does not have" for model in one.models)


def _size(changes: int | None) -> str:
    return "" if changes is None else f" ({changes:,} changes)"
