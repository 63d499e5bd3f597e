"""Another generation of a graph's indexes, built by replay while the one that readers see goes on serving.

The cheapest topics that can serve are replayed: those that the stages read which the change of the graph makes do over.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.errors import Refused
from nvisy.fault_points import Point, reach
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.generations import Change, change_of
from nvisy.rebuilding.bringing import Bringing, Owned, RebuildReport, Told, drop, serve
from nvisy.rebuilding.orders import POLL_S, Asking, Order
from nvisy.rebuilding.start import Start, starts_of
from nvisy.runtime.fork_server import STAGES
from nvisy.runtime.generations import (
    Generation,
    Generations,
    configs_of,
    generations_of,
    plan_under,
    sinks_of,
)
from nvisy.runtime.run import owner_name
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink
from nvisy.topics.log import Log


def _nobody(_said: str) -> None:
    """Nobody wants to know."""


def rebuild(
    graph: Graph | CheckedGraph,
    *,
    start: str = "beginning",
    anew: bool = False,
    allow_dead_letters: bool = False,
    settings: Settings | None = None,
    told: Told = _nobody,
) -> RebuildReport:
    """Build the indexes of a graph that was changed beside those that readers see, and show readers the new ones.

    What was begun and not finished is gone on with, so after whatever ended it the same call leads to the same end. A
    run that follows its sources meanwhile carries it out itself, and goes on under the new graph; this call watches.

    Args:
        graph: The graph as it is to be.
        start: From where the topics are replayed: `beginning`, an offset in each partition, or a time as ISO 8601.
        anew: Whether every index is built anew, also where nothing changed.
        allow_dead_letters: Whether readers may see an index that lacks documents which failed on the way to it.
        settings: Where the log is; from the environment unless given.
        told: Is told what happens.

    Raises:
        GraphError: The graph is wrong.
        UsageError: `start` is no place.
        Refused: It cannot be built from what the log holds.
        Unreachable: The log or a store does not answer.
        StageFailed: A stage gave up.
    """
    Start.parse(start)
    order = Order("rebuild", start, anew, allow_dead_letters)
    return have_carried_out(order, graph, settings, told)


def rollback(
    graph: Graph | CheckedGraph,
    *,
    allow_dead_letters: bool = False,
    settings: Settings | None = None,
    told: Told = _nobody,
) -> RebuildReport:
    """Show readers the index again that they saw before the last rebuild, once it has caught up. Done twice it is once.

    Raises:
        Refused: There is no former one, or as for `rebuild`, which takes and raises the same.
    """
    order = Order("rollback", allow_dead_letters=allow_dead_letters)
    return have_carried_out(order, graph, settings, told)


def finish(
    graph: Graph | CheckedGraph, *, settings: Settings | None = None, told: Told = _nobody
) -> RebuildReport:
    """Drop what readers do not see: the index that they saw before the last rebuild, and one that was never finished.

    Takes and raises what `rebuild` does.
    """
    return have_carried_out(Order("finish"), graph, settings, told)


def have_carried_out(
    order: Order, graph: Graph | CheckedGraph, settings: Settings | None, told: Told
) -> RebuildReport:
    """Carry out an order, or have it carried out by the run that owns the graph."""
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    settings = settings or Settings.from_environ()
    STAGES.warm()
    with closing(settings.open_log()) as log:
        asking = Asking(log, checked, order, told)
        while (report := asking.by_owner()) is None:
            try:
                claim = log.claim(checked.graph.id, owner_name())
            except Refused:  # somebody was quicker
                time.sleep(POLL_S)
                continue
            try:
                return carry_out(order, Owned(checked, log, claim, settings, told))
            finally:
                asking.withdraw()
                claim.release()
        return report


def carry_out(order: Order, owned: Owned) -> RebuildReport:
    """Carry out an order as the owner of a graph that nobody runs."""
    report = RebuildReport(owned.graph)
    generations = targeted(order, owned, report)
    started = time.monotonic()
    if generations.target:
        bringing = Bringing(owned, generations, report)
        bringing.fill()
        if bringing.is_right(allow_dead_letters=order.allow_dead_letters):
            serve(owned, bringing.note_swap(), report)
    report.duration_s = round(time.monotonic() - started, 3)
    return report


def targeted(order: Order, owned: Owned, report: RebuildReport) -> Generations:
    """With the generation that is to be brought up as the target; none where nothing is to be, or was dropped."""
    generations = _settled(owned, report)
    match order.kind:
        case "rebuild":
            return _of_rebuild(owned, generations, order, report)
        case "rollback":
            return _of_rollback(owned, generations, report)
        case _:
            for number in sorted(generations.living.keys() - {generations.current}):
                generations = drop(owned, generations, number, report)
            report.kept = 0
            return replace(generations, target=0)


def _of_rollback(owned: Owned, generations: Generations, report: RebuildReport) -> Generations:
    former = max((number for number in generations.living if number < generations.current), default=0)
    if not former and generations.kept:
        return replace(generations, target=0)  # readers see it again already
    if not former:
        raise Refused(f"no former index of graph {owned.graph!r} is kept: there is nothing to go back to")
    if generations.target > generations.current:
        generations = drop(owned, generations, generations.target, report)
    return owned.note(replace(generations, target=former, phase="building"))


def _settled(owned: Owned, report: RebuildReport) -> Generations:
    """What there is, after what somebody died in the middle of was completed."""
    generations = generations_of(owned.log, owned.graph)
    if generations.phase == "swapping":
        generations = serve(owned, generations, report)
    if generations.phase == "dropping":
        generations = drop(owned, generations, generations.target, report)
    report.generation, report.kept = generations.current, generations.kept
    return generations


def _of_rebuild(owned: Owned, generations: Generations, order: Order, report: RebuildReport) -> Generations:
    place, anew = Start.parse(order.start), order.anew
    known = generations.living.get(generations.target)
    if known is not None and generations.phase == "building" and generations.target > generations.current:
        if known.is_of(owned.checked):
            return generations  # gone on with
        generations = drop(owned, generations, generations.target, report)
        report.state = "unchanged"
    change = change_to(owned.checked, generations, owned.settings, owned.log, place, anew=anew)
    if not change.stages:
        return owned.note(replace(generations, target=0, phase=""))
    kept = generations.living.get(generations.kept)
    if kept is not None:
        if kept.is_of(owned.checked) and not anew:
            return owned.note(replace(generations, target=generations.kept, phase="building"))
        raise Refused(
            f"generation {generations.kept} of the index is still kept for a way back: `nvisy rebuild --finish` drops"
            " it, and then another one can be built"
        )
    refuse_without_generations(owned.checked, change, owned.settings)
    number = generations.last + 1
    plan = compile_graph(owned.checked)
    starts = starts_of(owned.log, generations.layout, change, place)
    layout = change.layout(plan, generations.layout, number, starts)
    generation = Generation.of(owned.checked, plan_under(owned.checked, layout), layout)
    noted = replace(generations.with_generation(number, generation), target=number, phase="building")
    noted = owned.note(noted)
    reach(Point.LANE_NOTED)
    return noted


def change_to(
    checked: CheckedGraph,
    generations: Generations,
    settings: Settings,
    log: Log,
    place: Start,
    *,
    anew: bool,
) -> Change:
    """What has to be made anew, from the cheapest topics that can serve.

    Raises:
        Refused: Nobody knows how the index was made, or no topic can serve.
    """
    now = generations.living.get(generations.current)
    if now is None:
        raise Refused(
            f"no run has noted which graph the index of {checked.graph.id!r} is of: run the graph once as it was before"
            " it was changed (or for the first time), and rebuild then"
        )
    old = now.checked(checked, settings)
    otherwise = {
        stage for stage, config in configs_of(checked).items() if now.configs.get(stage, config) != config
    }
    change = change_of(old, checked, anew=anew, also=otherwise)
    while place.is_beginning and (expired := _expired(log, generations, change)):
        made = {topic.name: topic.made_by for topic in compile_graph(checked).topics}
        above = {made[topic] for topic in expired if topic in made}
        sources = {
            stage.id
            for stage in compile_graph(checked).stages
            if any(inlet.kind == "source" for inlet in stage.inlets)
        }
        if not above or above & sources:
            raise Refused(
                f"the beginning of {' and '.join(expired)} has expired, so an index that is built from it would lack"
                " what was said there: make the topic whole (run with --adopt, which sends everything again), or say"
                " --from with an offset or a time, if the index is to hold only what changed since"
            )
        change = change_of(old, checked, anew=anew, also={*change.stages, *above})
    return change


def _expired(log: Log, generations: Generations, change: Change) -> list[str]:
    infos = (log.describe(generations.layout.topic(topic)) for topic in change.replays)
    return [info.name for info in infos if info is not None and any(info.start.values())]


def refuse_without_generations(checked: CheckedGraph, change: Change, settings: Settings) -> None:
    """Refuse a rebuild into a store that cannot have two generations of an index, with the reason."""
    plan = compile_graph(checked)
    for sink in sinks_of(checked):
        if not any(sink in plan.stage(stage).sinks for stage in change.stages):
            continue
        descriptor, opened = open_sink(checked, sink, settings.state)
        assert isinstance(descriptor, SinkDescriptor)
        if not descriptor.capabilities.generations:
            raise Refused(
                f"sink {sink}: {descriptor.name} cannot keep two generations of an index, so none can be built beside"
                ' the one that readers see: give the sink another "collection", and run the graph'
            )
        opened.current()
