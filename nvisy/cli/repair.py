"""`nvisy repair`: mends what `nvisy verify` finds wrong."""

from __future__ import annotations

from typing import Annotated

import typer

from nvisy.audit.repair import repair
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.output import one_line, say, say_json
from nvisy.cli.verify import DRIFT, said_of, say_drift, say_drift_json, summary


def command(
    graph: GraphFile,
    sink: Annotated[str, typer.Option("--sink", metavar="NODE", help="Which sink; else all.")] = "",
    as_json: AsJson = False,
) -> None:
    """Mend what verify finds wrong, and nothing else.

    Documents with a record that is missing, extra, stale or damaged are written again from the log; what the log does
    not know is taken out. Nobody may be running the graph: a live run is named, and nothing is done (exit 6). Exits
    with 7 if something could not be mended. --json prints one object for each finding, then one for all.
    """
    report = repair(checked_graph(graph), sink=sink or None, found=say_drift_json if as_json else say_drift)
    if as_json:
        say_json(report.as_json())
        raise typer.Exit(0 if report.is_clean else DRIFT)
    for one in report.sinks:
        for line in summary([one.found]):
            say(line)
        if one.documents:
            say(f"  {one.documents:,} documents were written again, or taken out")
        for fault in one.faults:
            say(f"  the store did not take it: {one_line(fault, 200)}")
    for drift in report.remaining:
        say(f"not mended: {said_of(drift)}")
    raise typer.Exit(0 if report.is_clean else DRIFT)
