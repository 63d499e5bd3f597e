"""A compiled graph: stages cut at topics. Frozen, and printable by `nvisy explain`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Wire:
    """A way inside a stage, from a node's port (or from an inlet) to a node or an outlet."""

    origin: str
    to: str
    port: str = ""


@dataclass(frozen=True, slots=True)
class Inlet:
    """Where the changes of a stage come from.

    Attributes:
        kind: `source`: the stage runs the source node itself. `topic`: a topic of the graph. `foreign`: a topic
            that other programs fill, and `node` is the source node that names it.
        name: The source node, or the topic.
        node: The source node, or the node that fills the topic.
        starts: Partitions of the topic that are not read from their beginning, each with its first offset.
    """

    kind: Literal["source", "topic", "foreign"]
    name: str
    node: str
    starts: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where changes leave a stage.

    Attributes:
        kind: `topic`: a topic of the graph. `sink`: a sink node. `foreign`: a topic for other programs, written by a
            sink node one event per primitive.
        name: The topic, or the sink node: unique in the plan's stage.
        node: The node whose output it is, or the sink node.
        generation: Of the collection that a sink node writes.
    """

    kind: Literal["topic", "sink", "foreign"]
    name: str
    node: str
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, restarts and is run again as one: one dataflow in one process.

    Attributes:
        id: The first of its nodes in the order of the data.
        nodes: Actions, branches, fan-outs and fan-ins in the order of the data.
        wires: Who gives to whom. An inlet is named by its `name`, an outlet by its `name`.
        config: Hash of everything that decides what the stage makes of its input.
        upstream: Stages that fill its topics.
        alone: It needs every partition in one process (`deduplicate`).
    """

    id: str
    inlets: tuple[Inlet, ...]
    nodes: tuple[str, ...]
    outlets: tuple[Outlet, ...]
    wires: tuple[Wire, ...]
    config: str
    upstream: tuple[str, ...] = ()
    alone: bool = False

    @property
    def source(self) -> str:
        """The source node that it runs itself, or empty."""
        return next((inlet.node for inlet in self.inlets if inlet.kind == "source"), "")

    @property
    def inputs(self) -> tuple[str, ...]:
        """Topics that it reads."""
        return tuple(inlet.name for inlet in self.inlets if inlet.kind != "source")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Topics of the graph that it fills."""
        return tuple(outlet.name for outlet in self.outlets if outlet.kind == "topic")

    @property
    def is_divisible(self) -> bool:
        """Whether several processes may share its partitions.

        Not where it runs a source, decides over all keys, or reads a topic of others: when that grows, what has moved
        between partitions has to be read in its order.
        """
        return not self.alone and bool(self.inlets) and all(inlet.kind == "topic" for inlet in self.inlets)

    @property
    def sinks(self) -> tuple[str, ...]:
        """Sink nodes that it writes to."""
        return tuple(outlet.node for outlet in self.outlets if outlet.kind == "sink")

    def generation(self, sink: str) -> int:
        """Which generation of its collection a sink node of the stage writes."""
        return next(outlet.generation for outlet in self.outlets if outlet.node == sink)

    def into(self, name: str) -> tuple[Wire, ...]:
        """The wires that end at a node or outlet, in the order of the graph's edges."""
        return tuple(wire for wire in self.wires if wire.to == name)

    def arity(self, name: str) -> Mapping[str, int]:
        """By inlet: over how many ways a change from it reaches the node or outlet `name`."""
        ways: dict[str, int] = {}
        for wire in self.into(name):
            for inlet in self._reaching(wire.origin):
                ways[inlet] = ways.get(inlet, 0) + 1
        return ways

    def _reaching(self, name: str) -> set[str]:
        if any(inlet.name == name for inlet in self.inlets):
            return {name}
        return {inlet for wire in self.into(name) for inlet in self._reaching(wire.origin)}


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of the graph.

    Attributes:
        origin: It is the first behind a source, or behind a `deduplicate`: offsets in it are versions.
        made_by: The stage that fills it.
        read_by: The stages that read it.
        why: Why the graph is cut here, in words.
    """

    name: str
    origin: bool
    made_by: str
    read_by: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A compiled graph.

    Attributes:
        graph: The graph's id.
        hash: Of the graph.
        partitions: Of each of its topics.
        stages: In the order of the data.
        topics: Of the graph, in the order of the data.
    """

    graph: str
    hash: str
    partitions: int
    stages: tuple[Stage, ...]
    topics: tuple[Topic, ...]

    def stage(self, stage_id: str) -> Stage:
        """The stage of that id, or KeyError."""
        return {stage.id: stage for stage in self.stages}[stage_id]

    def below(self, stages: Collection[str]) -> frozenset[str]:
        """These stages, and every one that their changes get to."""
        found = set(stages)
        for stage in self.stages:  # in the order of the data
            if not found.isdisjoint(stage.upstream):
                found.add(stage.id)
        return frozenset(found)

    def sources_of(self, stage: Stage) -> set[str]:
        """The source nodes whose changes reach a stage."""
        made = {topic: one for one in self.stages for topic in one.outputs}
        return {source for inlet in stage.inlets for source in sources_behind(inlet.name, made, stage)}

    def numbered_by(self, stage: Stage) -> dict[str, str]:
        """By source whose changes reach a stage: what gives them their versions, a topic or `/` and a stage."""
        made = {topic: one for one in self.stages for topic in one.outputs}
        numbered: dict[str, str] = {}
        for inlet in stage.inlets:
            above = made.get(inlet.name)
            if above is None:
                numbered[inlet.node] = inlet.name if inlet.kind == "foreign" else f"/{stage.id}"
            elif above.alone:
                numbered |= dict.fromkeys(self.sources_of(above), inlet.name)
            else:
                is_origin = {one.node for one in above.inlets if one.kind == "source"}
                by = self.numbered_by(above)
                numbered |= {name: inlet.name if name in is_origin else by[name] for name in by}
        return numbered


def sources_behind(inlet: str, made: Mapping[str, Stage], stage: Stage) -> set[str]:
    """The source nodes whose changes come through an inlet of a stage; `made` says who fills a topic."""
    if inlet in made:
        above = made[inlet]
        return {source for one in above.inlets for source in sources_behind(one.name, made, above)}
    return {one.node for one in stage.inlets if one.name == inlet}
