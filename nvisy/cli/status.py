"""`nvisy status`: how a graph is, whether a run is live or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from nvisy.cli.durations import ago
from nvisy.cli.graphs import AsJson, GraphFile, checked_graph
from nvisy.cli.letters import when
from nvisy.cli.output import one_line, printable, say, say_json, say_table
from nvisy.connector.descriptor import Fact
from nvisy.runtime.generations import plan_of
from nvisy.runtime.settings import Settings
from nvisy.runtime.source_health import source_health
from nvisy.runtime.status import GraphStatus, StageStatus, status_of

_UNKNOWN = "-"


def command(graph: GraphFile, as_json: AsJson = False) -> None:
    """Say how a graph is: who runs it, how far behind each stage is, what failed.

    Reads the log, asks sources what they keep for the graph, and disturbs no run. Exits with 3 when the log cannot be
    reached.
    """
    checked, settings = checked_graph(graph), Settings.from_environ()
    with closing(settings.open_log()) as log:
        status = status_of(log, plan_of(log, checked))
    sources = source_health(checked, settings)
    if as_json:
        say_json({**status.as_json(), "sources": sources})
        return
    say(_headline(status))
    for remark in _remarks(status):
        say(remark)
    head = ("stage", "state", "lag", "oldest", "per second", "in flight", "waiting for")
    say_table(head, (_row(stage) for stage in status.stages))
    for stage in status.stages:
        if stage.last_error and stage.last_error != stage.waiting:
            at = when(stage.last_error_ms)
            say(f"last error of {stage.id}, {at} UTC: {one_line(stage.last_error, 200)}")
    for node, facts in sources.items():
        say(f"source {node}: {', '.join(_fact(name, value) for name, value in facts.items())}")
    if not status.dead_letters:
        say("no dead letters")
        return
    say_table(
        ("node", "dead letters", "last", "kind", "message"),
        (
            (node, letters.count, when(letters.failed_at_ms), letters.kind, one_line(letters.message, 120))
            for node, letters in status.dead_letters.items()
        ),
    )


def _fact(name: str, value: Fact) -> str:
    shown = f"{value:,}" if isinstance(value, int) else one_line(str(value), 200)
    return f"{name.replace('_', ' ')} {shown}"


def _headline(status: GraphStatus) -> str:
    if not status.running:
        return f"{status.graph} is not being run"
    since = f" since {when(status.since_ms)} UTC" if status.since_ms is not None else ""
    return f"{status.graph} is being run by {printable(status.owner)}{since}"


def _remarks(status: GraphStatus) -> Iterator[str]:
    for host in status.hosts:
        yield f"joined by {printable(host.owner)}: {', '.join(host.stages) or 'standing by'}"
    if status.error:
        yield f"the last run failed: {one_line(status.error, 200)}"
    if status.graph_changed:
        yield f"the {'run is' if status.running else 'last run was'} of another version of the graph"
    if status.rebuild:
        yield f"a rebuild is {status.rebuild}: readers see generation {status.generation} of the index"
    if status.kept_generation:
        yield (
            f"readers see generation {status.generation} of the index; generation {status.kept_generation} is kept for"
            " a way back, until `nvisy rebuild --finish`"
        )
    if status.running and status.said_s_ago is None:
        yield "the run has not said anything about itself yet"
    elif status.is_stale and status.said_s_ago is not None:
        yield f"the run has not said anything for {ago(status.said_s_ago)}: what is below may be old"


def _row(stage: StageStatus) -> tuple[str, ...]:
    return (
        stage.id,
        stage.state,
        _UNKNOWN if stage.lag is None else f"{stage.lag:,}",
        _UNKNOWN if stage.lag_s is None or not stage.lag else ago(stage.lag_s),
        _UNKNOWN if stage.rate is None else f"{stage.rate:,.1f}",
        _UNKNOWN if stage.in_flight is None else f"{stage.in_flight:,}",
        one_line(stage.waiting, 120),
    )
