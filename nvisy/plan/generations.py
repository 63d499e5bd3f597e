"""Generations of an index: what of a graph has to be made anew beside what serves, and under which names.

A rebuild runs the stages that a change of the graph makes do over once more, beside the old ones: as `embed.2`, into a
topic `docs.embed.2`, into a collection `docs__2`. What the change leaves as it is belongs to both generations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from nvisy.errors import Refused
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.compile import compile_graph
from nvisy.plan.diff import StageEffect, diff, place_of
from nvisy.plan.model import Inlet, Outlet, Plan, Stage, Topic, Wire

Starts = Mapping[str, Mapping[int, int]]
"""By topic and partition: the offset from which on it is replayed."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The names under which a generation of a graph runs. What is not named here was made for this generation.

    Attributes:
        generation: Its number; the first is 1.
        stages: What it shares with earlier generations, with the number of the one that it was made for; by id.
        topics: Likewise, by the name in the graph.
        sinks: Likewise, by node.
        starts: Topics, as the log names them, that its own stages do not read from the beginning.
    """

    generation: int = 1
    stages: Mapping[str, int] = field(default_factory=dict)
    topics: Mapping[str, int] = field(default_factory=dict)
    sinks: Mapping[str, int] = field(default_factory=dict)
    starts: Starts = field(default_factory=dict)

    def stage(self, stage: str) -> str:
        """A stage as the log knows it."""
        return _numbered(stage, self.stages.get(stage, self.generation))

    def topic(self, topic: str) -> str:
        """A topic as the log knows it."""
        return _numbered(topic, self.topics.get(topic, self.generation))

    def sink(self, node: str) -> int:
        """The generation of the collection that a sink node writes."""
        return self.sinks.get(node, self.generation)

    def as_json(self) -> dict[str, Any]:
        """As it is kept and passed on."""
        starts = {topic: {str(one): at for one, at in parts.items()} for topic, parts in self.starts.items()}
        return {**asdict(self), "starts": starts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `as_json` wrote; of nothing, the first generation."""
        starts = value.get("starts", {})
        parsed = {topic: {int(one): at for one, at in parts.items()} for topic, parts in starts.items()}
        return cls(**{**value, "starts": parsed})


FIRST = Layout()


def laid_out(plan: Plan, layout: Layout) -> Plan:
    """A plan under the names of a generation."""
    stages = tuple(_stage(stage, layout) for stage in plan.stages)
    topics = tuple(_topic(topic, layout) for topic in plan.topics)
    names = [topic.name for topic in topics]
    for name in names:
        if names.count(name) > 1:
            raise Refused(f"two topics of generation {layout.generation} have the name {name!r}: rename one")
    return replace(plan, stages=stages, topics=topics)


def _stage(stage: Stage, layout: Layout) -> Stage:
    starts = {} if stage.id in layout.stages else layout.starts
    inlets = tuple(_inlet(inlet, layout, starts) for inlet in stage.inlets)
    outlets = tuple(_outlet(outlet, layout) for outlet in stage.outlets)
    came = dict(zip((one.name for one in stage.inlets), (one.name for one in inlets), strict=True))
    goes = dict(zip((one.name for one in stage.outlets), (one.name for one in outlets), strict=True))
    wires = (
        Wire(came.get(wire.origin, wire.origin), goes.get(wire.to, wire.to), wire.port)
        for wire in stage.wires
    )
    upstream = tuple(layout.stage(one) for one in stage.upstream)
    return replace(
        stage,
        id=layout.stage(stage.id),
        inlets=inlets,
        outlets=outlets,
        wires=tuple(wires),
        upstream=upstream,
    )


def _inlet(inlet: Inlet, layout: Layout, starts: Starts) -> Inlet:
    name = layout.topic(inlet.name) if inlet.kind == "topic" else inlet.name
    return replace(inlet, name=name, starts=tuple(starts.get(name, {}).items()))


def _outlet(outlet: Outlet, layout: Layout) -> Outlet:
    match outlet.kind:
        case "topic":
            return replace(outlet, name=layout.topic(outlet.name))
        case "sink":
            return replace(outlet, generation=layout.sink(outlet.node))
        case _:
            return outlet


def _topic(topic: Topic, layout: Layout) -> Topic:
    readers = tuple(layout.stage(one) for one in topic.read_by)
    return replace(topic, name=layout.topic(topic.name), made_by=layout.stage(topic.made_by), read_by=readers)


def _numbered(name: str, generation: int) -> str:
    return name if generation == 1 else f"{name}.{generation}"


@dataclass(frozen=True, slots=True)
class Change:
    """What a change of a graph makes anew.

    Attributes:
        stages: Ids in the new graph of the stages that it runs once more, in the order of the data.
        why: For each of them, in sentences.
        replays: The topics, as the new graph names them, that those read and that stay as they are.
    """

    stages: tuple[str, ...]
    why: Mapping[str, tuple[str, ...]]
    replays: tuple[str, ...]

    def layout(self, plan: Plan, before: Layout, generation: int, starts: Starts) -> Layout:
        """The names under which the new graph runs beside a generation that goes on under the names of `before`."""
        kept = [stage for stage in plan.stages if stage.id not in self.stages]
        return Layout(
            generation,
            {one.id: before.stages.get(one.id, before.generation) for one in kept},
            {name: before.topics.get(name, before.generation) for one in kept for name in one.outputs},
            {sink: before.sink(sink) for one in kept for sink in one.sinks},
            starts,
        )


def change_of(
    old: CheckedGraph, new: CheckedGraph, *, anew: bool = False, also: Collection[str] = ()
) -> Change:
    """What has to be made anew so that an index of `old` becomes one of `new`; no stage where nothing has to be.

    Args:
        old: The graph as the index was made.
        new: The graph as it is to be.
        anew: Whether every collection is made anew, also where nothing changed.
        also: Ids of stages of `new` that are run once more in any case.

    Raises:
        Refused: It cannot be made from what the log holds.
    """
    return _Changing(old, new).change(anew=anew, also=also)


class _Changing:
    def __init__(self, old: CheckedGraph, new: CheckedGraph) -> None:
        self._old, self._new = old, new
        self._before, self._after = compile_graph(old), compile_graph(new)
        self._effects = {one.stage: one for one in diff(old, new).stages}

    def change(self, *, anew: bool, also: Collection[str]) -> Change:
        self._refuse_another_graph()
        why: dict[str, list[str]] = {stage: [] for stage in also}
        for stage in self._after.stages:
            reasons = [*self._of_nodes(self._effects[stage.id]), *self._of_sinks(stage, anew=anew)]
            if reasons:
                why.setdefault(stage.id, []).extend(reasons)
        over = self._with_all_that_follows(set(why))
        for stage in self._after.stages:
            if stage.id in over:
                self._refuse_what_cannot_be_replayed(stage)
        stages = tuple(stage.id for stage in self._after.stages if stage.id in over)
        made = {topic.name: topic.made_by for topic in self._after.topics}
        read = (topic for one in stages for topic in self._after.stage(one).inputs)
        replays = tuple(dict.fromkeys(topic for topic in read if made.get(topic) not in over))
        return Change(stages, {one: tuple(why.get(one, ())) for one in stages}, replays)

    def _of_nodes(self, effect: StageEffect) -> Iterator[str]:
        """Why a stage makes something else than it made. What a source passes on only from now on is no reason."""
        if effect.effect in {"reads_again", "gets_again", "from_now_on"}:
            yield from effect.why

    def _of_sinks(self, stage: Stage, *, anew: bool) -> Iterator[str]:
        for sink in stage.sinks:
            before = self._old.nodes.get(sink)
            if before is not None and before.config_hash != self._new.nodes[sink].config_hash:
                yield f"{sink} keeps its records otherwise"
            elif anew:
                yield f"{sink} is made anew"

    def _with_all_that_follows(self, over: set[str]) -> set[str]:
        """These stages, those below them, and those whose sinks share a collection with one of theirs."""
        while True:
            before = set(over)
            over = set(self._after.below(over))
            places = {
                self._place(sink) for stage in self._after.stages if stage.id in over for sink in stage.sinks
            }
            over |= {
                stage.id
                for stage in self._after.stages
                if any(self._place(sink) in places for sink in stage.sinks)
            }
            if over == before:
                return over

    def _place(self, sink: str) -> Any:
        return place_of(self._new, sink)

    def _refuse_another_graph(self) -> None:
        before, after = self._before, self._after
        if before.graph != after.graph:
            raise Refused(
                f"the index is one of the graph {before.graph!r}, and this is the graph {after.graph!r}: its topics"
                " are others, so there is nothing to build it from; run the graph"
            )
        if before.partitions != after.partitions:
            raise Refused(
                f"the topics of the graph have {before.partitions} partitions, and keep them: set"
                f' "log": {{"partitions": {before.partitions}}}'
            )

    def _refuse_what_cannot_be_replayed(self, stage: Stage) -> None:
        source = next((inlet.node for inlet in stage.inlets if inlet.kind == "source"), "")
        if source and not self._effects[stage.id].is_new:
            raise Refused(
                f"no topic lies between the source {source} and what changed, so nothing can be replayed: give the edge"
                f' behind {source} a "topic" (or leave its "topic": false out), run the graph once without any other'
                " change, and rebuild then"
            )
        events = next((outlet.node for outlet in stage.outlets if outlet.kind == "foreign"), "")
        if events and not self._effects[stage.id].is_new:
            raise Refused(
                f"the sink {events} is a topic for other programs, which would be sent everything once more: give the"
                f' edge before it a "topic", so that it belongs to a stage of its own that does not change'
            )
