"""Running a part of a graph again, from a topic: `nvisy rerun`."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

from nvisy.errors import UsageError
from nvisy.graph.diamonds import inside_diamonds
from nvisy.graph.model import Edge, Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.graph.wiring import Wiring
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Plan, Stage
from nvisy.runtime.counters import Report
from nvisy.runtime.dead_letters import open_entries
from nvisy.runtime.generations import generations_of, plan_under
from nvisy.runtime.requests import Named
from nvisy.runtime.rerunning import Again
from nvisy.runtime.run import Run
from nvisy.runtime.settings import Settings
from nvisy.topics.log import Log
from nvisy.topics.partitioner import partition_of


@dataclass(frozen=True, slots=True)
class Rerun:
    """What of a graph is run again: options of `Run`.

    Attributes:
        stages: Ids in the graph of the first stage and those below it.
        again: What comes in at the first one; None where dead letters do.
        replay: These dead letters.
    """

    stages: Collection[str]
    again: Again | None
    replay: tuple[Named, ...] = ()


def rerun(
    graph: Graph | CheckedGraph,
    node: str,
    *,
    key: str | None = None,
    source: str | None = None,
    failed: bool = False,
    since: datetime | None = None,
    settings: Settings | None = None,
) -> Report:
    """Run a node and what is below it again, on what stands in its topic. Nothing above it is run.

    Without `key`, `failed` or `since`, everything in the topic passes again.

    Args:
        graph: The graph, which nobody runs meanwhile.
        node: The first node of a stage that reads a topic.
        key: Only this document.
        source: Of this source node, where several have such a key.
        failed: Only what is in the dead letters of the stage.
        since: Only what was written into the topic from then on; without a time zone, in UTC.
        settings: Where the log is; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        UsageError: No stage begins at the node, or it reads no topic, or the topic has no such document; or more than
            one of `key`, `failed` and `since` is given.
        Refused: A run holds the graph.
        Unreachable: The log cannot be reached.
        StageFailed: A stage gave up.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    settings = settings or Settings.from_environ()
    since_ms = 0
    if since is not None:
        since_ms = round(
            (since if since.tzinfo is not None else since.replace(tzinfo=UTC)).timestamp() * 1000
        )
    with closing(settings.open_log()) as log:
        part = part_of(
            checked, log, node, key=key or "", source=source or "", failed=failed, since_ms=since_ms
        )
    return Run(checked, stages=part.stages, again=part.again, replay=part.replay, settings=settings).start()


def part_of(
    checked: CheckedGraph, log: Log, node: str, *, key: str, source: str, failed: bool, since_ms: int
) -> Rerun:
    """What `rerun` runs. Raises what it does about its arguments."""
    if sum((bool(key), failed, bool(since_ms))) > 1:
        raise UsageError("of --key, --failed and --since one can be meant at a time")
    if source and not key:
        raise UsageError("--source says whose --key is meant")
    plan = compile_graph(checked)
    stage = _stage_from(checked, plan, node)
    if source and source not in plan.sources_of(stage):
        raise UsageError(
            f"no document of {source!r} reaches {node!r}; of these: {', '.join(sorted(plan.sources_of(stage)))}"
        )
    stages = plan.below({stage.id})
    layout = generations_of(log, plan.graph).layout
    name = layout.stage(stage.id)
    if not failed:
        now = plan_under(checked, layout).stage(name)
        is_ours = all(
            inlet.kind == "topic" for inlet in now.inlets
        )  # what others call a document is for the stage
        if key and is_ours and not _holds(log, now, [source] if source else plan.sources_of(stage), key):
            raise UsageError(f"no document {key!r} stands in {' or '.join(now.inputs)}: nothing was run")
        return Rerun(stages, Again(stage.id, key, source, since_ms))
    letters = tuple(Named.of(letter) for letter in open_entries(log, plan.graph) if letter.stage == name)
    return Rerun(stages, None, letters)


def _stage_from(checked: CheckedGraph, plan: Plan, node: str) -> Stage:
    """The stage that begins at a node, if it reads topics."""
    if node not in checked.nodes:
        there = ", ".join(stage.id for stage in plan.stages if _reads_topics(stage))
        raise UsageError(f"graph {plan.graph} has no node {node!r}; it can be run again from: {there}")
    stage = next((stage for stage in plan.stages if node in _members(stage)), None)
    if stage is None or any(inlet.node == node for inlet in stage.inlets if inlet.kind == "source"):
        raise UsageError(f"{node!r} is a source, which `nvisy run` asks again; --from names a node behind it")
    if not _reads_topics(stage):
        source = next(inlet.node for inlet in stage.inlets if inlet.kind == "source")
        raise UsageError(
            f"{node!r} runs in one stage with the source {source!r}, so nothing is kept before it;"
            f" {_topic_before(checked, node)}"
        )
    if stage.id != node:
        raise UsageError(
            f"{node!r} is no first node of a stage: it runs in the one that begins at {stage.id!r}. Say --from"
            f" {stage.id}; or, to run {node!r} alone another time, {_topic_before(checked, node)}"
        )
    return stage


def _members(stage: Stage) -> set[str]:
    outlets = {outlet.node for outlet in stage.outlets if outlet.kind != "topic"}
    return {
        stage.id,
        *stage.nodes,
        *outlets,
        *(inlet.node for inlet in stage.inlets if inlet.kind == "source"),
    }


def _reads_topics(stage: Stage) -> bool:
    return all(inlet.kind != "source" for inlet in stage.inlets)


def _topic_before(checked: CheckedGraph, node: str) -> str:
    """Which edge has to get a topic so that a stage begins at a node."""
    before = [edge for edge in checked.graph.edges if edge.to == node]
    said = " and ".join(f'"{edge.from_}" → "{node}"' for edge in before)
    if not before or not _may_be_cut(checked, before):
        return "which a topic cannot be put before, since ways of one document meet again behind it"
    topic = f'"topic": "{checked.graph.id}.{before[0].from_}"'
    return f"give the edge {said} a topic ({topic}) and run the graph once"


def _may_be_cut(checked: CheckedGraph, edges: Collection[Edge]) -> bool:
    """Whether topics may lie on these edges: not where ways of one document are apart."""
    graph = checked.graph
    inside = inside_diamonds(Wiring.of_graph(graph)).edges
    return not any(edge in edges for place, edge in enumerate(graph.edges) if place in inside)


def _holds(log: Log, stage: Stage, sources: Collection[str], key: str) -> bool:
    """Whether a topic of the graph that a stage reads has a document of one of these sources."""
    for source in sources:
        name = f"{source}/{key}".encode()
        for topic in stage.inputs:
            info = log.describe(topic)
            if info is None:
                continue
            partition = partition_of(name, info.partitions)
            records = log.scan(topic, {**info.end, partition: info.start[partition]})
            if any(record.key == name for record in records):
                return True
    return False
