"""`nvisy rebuild`: another generation of a graph's indexes, built by replay while the former one serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.logs import log_to_stderr
from nvisy.cli.output import one_line, printable, say, say_json
from nvisy.cli.verify import DRIFT, said_of
from nvisy.errors import UsageError
from nvisy.rebuilding.bringing import RebuildReport
from nvisy.rebuilding.estimate import Estimate, estimate
from nvisy.rebuilding.rebuild import finish, rebuild, rollback

DEAD_LETTERS = 4
SHOWN = 20


def command(
    graph: GraphFile,
    *,
    start: Annotated[
        str,
        typer.Option(
            "--from", metavar="PLACE", help="Replay from: beginning, an offset, or a time (ISO 8601)."
        ),
    ] = "beginning",
    anew: Annotated[
        bool, typer.Option("--anew", help="Build every index anew, also where nothing changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would take, and do nothing.")
    ] = False,
    price: Annotated[
        float | None,
        typer.Option("--price", min=0.0, metavar="USD", help="With --dry-run: of a million tokens."),
    ] = None,
    back: Annotated[
        bool, typer.Option("--rollback", help="Go back to the index that readers saw before.")
    ] = False,
    done: Annotated[bool, typer.Option("--finish", help="Drop the indexes that readers do not see.")] = False,
    allow_dead_letters: Annotated[
        bool,
        typer.Option("--allow-dead-letters", help="Let readers see it although documents failed on the way."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build an index anew beside the one that readers see, and let it take its place.

    Change the model, its dimensions, the chunker or the distance in GRAPH before. The cheapest topic that can serve is
    replayed. When the new index holds all that the log says, verified record by record, it takes the place of the
    former one at once; that one is kept until --finish, for --rollback. Where a run is live, it does this, and goes on
    under the new graph; the command watches. Killed at any moment, the same command goes on where it was.

    Exits with 0 when done, 4 when documents failed on the way, 7 when the new index does not hold what the log says:
    readers see what they saw then. 6 when it cannot be built from what the log holds. --json prints one object.
    """
    log_to_stderr()
    if sum((dry_run, back, done)) > 1:
        raise UsageError("--dry-run, --rollback and --finish exclude each other")
    checked = checked_graph(graph)
    if dry_run:
        found = estimate(checked, start=start, anew=anew, usd_per_million_tokens=price)
        if as_json:
            say_json(found.as_json())
            return
        for line in _of_estimate(found):
            say(printable(line))
        return

    def told(said: str) -> None:
        if not as_json:
            typer.echo(printable(said), err=True)

    if back:
        report = rollback(checked, allow_dead_letters=allow_dead_letters, told=told)
    elif done:
        report = finish(checked, told=told)
    else:
        report = rebuild(checked, start=start, anew=anew, allow_dead_letters=allow_dead_letters, told=told)
    if as_json:
        say_json(report.as_json())
    else:
        for line in _of_report(report, str(graph)):
            say(printable(line))
    raise typer.Exit(code_of(report))


def code_of(report: RebuildReport) -> int:
    """What the shell is told."""
    return {"drift": DRIFT, "dead_letters": DEAD_LETTERS}.get(report.state, 0)


def _of_report(report: RebuildReport, graph: str) -> Iterator[str]:
    match report.state:
        case "served":
            yield (
                f"readers see generation {report.generation} now: {report.written:,} vectors written,"
                f" {report.model_calls:,} texts embedded, in {report.duration_s:.1f} s"
            )
            yield f"  the former index is kept: nvisy rebuild {graph} --rollback goes back to it, --finish drops it"
        case "unchanged":
            yield f"readers see generation {report.generation}, and there is nothing to do"
        case "dropped":
            yield f"what readers do not see is dropped; they see generation {report.generation}"
        case "drift":
            yield from (f"  {said_of(drift)}" for drift in report.drift[:SHOWN])
            yield (
                f"readers still see generation {report.generation}, since the new index does not hold what the log"
                " says: do it again, or drop the new one with --finish"
            )
        case "dead_letters":
            yield from (f"  {one_line(one, 120)}" for one in report.dead_letters[:SHOWN])
            yield (
                f"readers still see generation {report.generation}, since {len(report.dead_letters):,} documents that"
                f" it has failed on the way to the new one: see nvisy dlq list {graph}, mend the cause, and do it"
                " again; or say --allow-dead-letters"
            )
    yield from report.left


def _of_estimate(found: Estimate) -> Iterator[str]:
    if not found.stages:
        yield "there is nothing to do: the index is of this graph"
        return
    for stage, why in found.stages.items():
        yield f"stage {stage} runs once more{': ' + '; '.join(why) if why else ''}"
    about = "about " if found.is_sampled else ""
    topics = ", ".join(found.replays)
    yield f"replays {topics}: {found.documents:,} documents ({found.changes:,} changes)"
    yield f"records   {about}{found.records:,}"
    for model in found.models:
        hits = f", {about}{found.cache_hits:,} in the cache" if found.cache_hits is not None else ""
        yield f"model     {model}: {about}{found.model_calls:,} texts in {about}{found.requests:,} calls{hits}"
    if found.models:
        yield f"tokens    {about}{found.tokens:,} (counted as {found.bytes_per_token} bytes each)"
        yield f"money     {_money(found)}"
        yield f"time      {_time(found)}"
    yield f"disk      {about}{_size(found.disk_bytes)} more until --finish"
    yield from found.remarks


def _money(found: Estimate) -> str:
    if found.cost_usd is None:
        return "the model does not say its price: --price USD takes that of a million tokens"
    return f"{found.cost_usd:,.2f} USD"


def _time(found: Estimate) -> str:
    if found.least_s is None:
        return "no limit is configured for the model's connection: as fast as it answers"
    return f"{found.least_s:,.0f} s at least, at the configured limits"


def _size(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
