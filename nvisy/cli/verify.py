"""`nvisy verify`: whether the indexes of a graph hold what its log says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from nvisy.audit.judging import Drift
from nvisy.audit.verify import SinkReport, verify
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.output import one_line, say, say_json

DRIFT = 7


def command(
    graph: GraphFile,
    sink: Annotated[str, typer.Option("--sink", metavar="NODE", help="Which sink; else all.")] = "",
    as_json: AsJson = False,
) -> None:
    """Compare what a graph's indexes hold with what its log says, record by record.

    Names each record that is missing, extra, stale or damaged. Reads only, and the graph may be running: what is on its
    way is waited for, and is no drift. Exits with 7 if anything is wrong; `nvisy repair` mends it. --json prints one
    object for each finding, then one for all.
    """
    report = verify(checked_graph(graph), sink=sink or None, found=say_drift_json if as_json else say_drift)
    if as_json:
        say_json(report.as_json())
    else:
        for line in summary(report.sinks):
            say(line)
    raise typer.Exit(0 if report.is_clean else DRIFT)


def summary(sinks: Sequence[SinkReport]) -> Iterator[str]:
    """What was found, some lines for each sink."""
    for one in sinks:
        yield f"{one.sink}: {_verdict(one)}"
        yield from (f"  {remark}" for remark in _remarks(one))


def said_of(drift: Drift) -> str:
    """A finding on one line."""
    where = drift.id or "-"
    return f"{drift.kind:8}{where:36}  {drift.sink}  {one_line(drift.key, 60)}  {drift.why}"


def say_drift(drift: Drift) -> None:
    """A finding, for people."""
    say(said_of(drift))


def say_drift_json(drift: Drift) -> None:
    """A finding, for machines."""
    say_json(drift.as_json())


def _verdict(one: SinkReport) -> str:
    found = ", ".join(f"{count:,} {kind}" for kind, count in one.drift.items() if count)
    return f"{one.keys:,} documents, {one.records:,} records: {found or 'in order'}"


def _remarks(one: SinkReport) -> Iterator[str]:
    yield from one.remarks
    if one.on_their_way:
        yield f"{one.on_their_way:,} documents have a change on its way, and were not judged"
    if one.known_stale:
        yield f"{one.known_stale:,} documents stay at an older version: the newer one failed, see `nvisy dlq list`"
    if one.not_confirmed:
        yield f"{one.not_confirmed:,} documents are no longer in the log, and were held against the index's own heads"
