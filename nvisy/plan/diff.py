"""What a change of a graph makes its next run do over, and why: two plans side by side, and nobody is asked."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nvisy.connector.descriptor import SinkDescriptor, SourceDescriptor
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Plan, Stage

Effect = Literal["reads_again", "gets_again", "lists_again", "from_now_on", "same"]
"""Of a stage: it reads its topics from their beginning; a stage above it sends everything once more; its source is
listed with other parameters; what it makes is another thing, of documents that change from now on; nothing changes."""


@dataclass(frozen=True, slots=True)
class NodeChange:
    """A node that is not in both graphs, or not the same in both.

    Attributes:
        params: By name: what a parameter was and what it is, None where it is not given.
    """

    node: str
    change: Literal["added", "removed", "changed"]
    params: Mapping[str, tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class StageEffect:
    """What the next run does in a stage.

    Attributes:
        reads: The topics that it reads again, or gets everything from again.
        why: Each reason in a sentence.
        models: Models that it asks again, for texts that are not in the cache.
        is_new: The former graph has no such stage.
    """

    stage: str
    effect: Effect
    reads: tuple[str, ...]
    why: tuple[str, ...]
    models: tuple[str, ...]
    is_new: bool = False


@dataclass(frozen=True, slots=True)
class GraphDiff:
    """What differs between two graphs.

    Attributes:
        stages: The stages of the new graph, in the order of the data.
        gone: Stages that it no longer has; their topics stay in the log until somebody deletes them.
        refused: Why the next run will not go on, each in a sentence, with what to do.
        remarks: What else follows, each in a sentence.
    """

    nodes: tuple[NodeChange, ...]
    stages: tuple[StageEffect, ...]
    gone: tuple[str, ...]
    refused: tuple[str, ...]
    remarks: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """The next run does nothing that it would not have done before."""
        return not (self.gone or self.refused or any(one.effect != "same" for one in self.stages))

    def as_json(self) -> dict[str, Any]:
        """What `nvisy diff --json` prints."""
        return {**asdict(self), "same": self.is_same}


def diff(old: CheckedGraph, new: CheckedGraph) -> GraphDiff:
    """What the next run does over if it is of `new`, and the last one was of `old`."""
    return _Diff(old, new).result()


class _Diff:
    def __init__(self, old: CheckedGraph, new: CheckedGraph) -> None:
        self._old, self._new = old, new
        self._before, self._after = compile_graph(old), compile_graph(new)
        self._former = {stage.id: stage for stage in self._before.stages}

    def result(self) -> GraphDiff:
        stages: list[StageEffect] = []
        resent: set[str] = set()  # topics that get everything once more
        for stage in self._after.stages:
            effect = self._stage(stage, resent)
            stages.append(effect)
            if effect.effect in {"reads_again", "gets_again"}:
                resent.update(stage.outputs)
        kept = {stage.id for stage in self._after.stages}
        return GraphDiff(
            nodes=tuple(self._nodes()),
            stages=tuple(stages),
            gone=tuple(stage.id for stage in self._before.stages if stage.id not in kept),
            refused=tuple(self._refused()),
            remarks=tuple(self._remarks()),
        )

    # --- stages ---

    def _stage(self, stage: Stage, resent: set[str]) -> StageEffect:
        former = self._former.get(stage.id) if self._is_same_graph else None
        why = list(self._reasons(stage, former))
        reads = stage.inputs
        source = stage.source
        effect: Effect = "reads_again" if why else "same"
        if source and former is not None:
            effect, why = self._source_stage(stage, former, source, why)
        again = tuple(topic for topic in reads if topic in resent)
        if effect == "same" and again:
            makers = dict.fromkeys(topic.made_by for topic in self._after.topics if topic.name in again)
            effect, reads, why = "gets_again", again, [f"{' and '.join(makers)} makes it anew"]
        models = self._models(stage) if effect not in {"same", "from_now_on"} else ()
        return StageEffect(
            stage.id, effect, reads if effect != "same" else (), tuple(why), models, former is None
        )

    def _source_stage(
        self, stage: Stage, former: Stage, source: str, why: list[str]
    ) -> tuple[Effect, list[str]]:
        """A stage that runs a source itself: what has not changed at the source is not sent again."""
        if not set(stage.outputs) <= set(former.outputs) or (why and not stage.outputs):
            return "reads_again", why or ["it fills a topic that it did not fill before"]
        if why:
            hint = (
                f"what {source} has not changed since is not made anew: `run --adopt` sends all of it again"
            )
            return "from_now_on", [*why, hint]
        return ("lists_again", [self._why(source)]) if self._is_another(source) else ("same", [])

    def _reasons(self, stage: Stage, former: Stage | None) -> Iterator[str]:
        """Why a stage begins its input anew."""
        if former is None:
            yield "the former graph has no such stage" if self._is_same_graph else "it is another graph"
            return
        for node in (*stage.nodes, *(inlet.node for inlet in stage.inlets if inlet.kind == "foreign")):
            if node not in self._old.nodes:
                yield f"{node} is new"
            elif self._is_another(node):
                yield self._why(node)
        yield from (f"{node} is no longer in it" for node in former.nodes if node not in stage.nodes)
        yield from (f"it reads {topic}" for topic in stage.inputs if topic not in former.inputs)
        yield from (f"{sink} is a new sink" for sink in stage.sinks if sink not in former.sinks)
        for sink in stage.sinks:
            if sink in former.sinks and place_of(self._old, sink) != place_of(self._new, sink):
                yield f"{sink} writes into another collection"
        are_same = set(former.nodes) == set(stage.nodes) and not any(map(self._is_another, stage.nodes))
        if former.config != stage.config and are_same:
            yield "its nodes are wired otherwise"

    def _is_another(self, node: str) -> bool:
        """Whether a node of both graphs does something else to what passes."""
        return self._old.nodes[node].config_hash != self._new.nodes[node].config_hash

    def _why(self, node: str) -> str:
        old, new = self._old.nodes[node], self._new.nodes[node]
        changed = self._params(node)
        if changed:
            return _said(node, changed)
        if old.models != new.models:
            return f"{node} asks {', '.join(new.models)} instead of {', '.join(old.models)}"
        return f"{node} does something else: its code, or its kind"

    def _models(self, stage: Stage) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model for node in stage.nodes for model in self._new.nodes[node].models))

    # --- nodes ---

    def _nodes(self) -> Iterator[NodeChange]:
        for node in self._new.nodes:
            if node not in self._old.nodes:
                yield NodeChange(node, "added", {})
            elif self._is_another(node):
                yield NodeChange(node, "changed", self._params(node))
        yield from (
            NodeChange(node, "removed", {}) for node in self._old.nodes if node not in self._new.nodes
        )

    def _params(self, node: str) -> dict[str, tuple[Any, Any]]:
        """Parameters of a node that are written otherwise, references unresolved."""
        old, new = _written(self._old, node), _written(self._new, node)
        names = sorted(old.keys() | new.keys())
        return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}

    # --- what else follows ---

    @property
    def _is_same_graph(self) -> bool:
        return self._before.graph == self._after.graph

    def _refused(self) -> Iterator[str]:
        before, after = self._before, self._after
        if self._is_same_graph and before.partitions != after.partitions:
            kept = f'"log": {{"partitions": {before.partitions}}}'
            yield f"its topics have {before.partitions} partitions, and keep them: set {kept}"
        for sink in _sinks(after):
            if place_of(self._new, sink) not in {place_of(self._old, one) for one in _sinks(before)}:
                continue
            if not self._is_same_graph:
                yield f'{sink}: its collection belongs to the graph {before.graph!r}: give it another "collection"'
            elif sink in self._old.nodes and (what := self._other_vectors(sink)):
                yield f"{sink}: its collection holds vectors of {what}: `nvisy rebuild` builds it anew beside that one"

    def _other_vectors(self, sink: str) -> str:
        old, new = self._old.nodes[sink].incoming, self._new.nodes[sink].incoming
        if old is None or new is None or (old.model, old.dimensions) == (new.model, new.dimensions):
            distances = [_written(graph, sink).get("distance", "cosine") for graph in (self._old, self._new)]
            return f"the distance {distances[0]!r}" if distances[0] != distances[1] else ""
        return f"{old.model}, {old.dimensions} dimensions, and gets {new.model}, {new.dimensions} dimensions"

    def _remarks(self) -> Iterator[str]:
        if not self._is_same_graph:
            yield f"{self._after.graph!r} is another graph than {self._before.graph!r}: it has topics of its own"
            return
        sources = {
            node for node, one in self._old.nodes.items() if isinstance(one.descriptor, SourceDescriptor)
        }
        for node in sorted(sources - self._new.nodes.keys()):
            yield f"what came from {node} is removed from the sinks once every source was passed over"
        for sink in sorted(set(_sinks(self._before)) - set(_sinks(self._after))):
            yield f"the collection of {sink} stays as it is, and follows nothing any more"


def _sinks(plan: Plan) -> list[str]:
    return [sink for stage in plan.stages for sink in stage.sinks]


def place_of(graph: CheckedGraph, sink: str) -> Hashable:
    """Where the records of a sink go."""
    found = graph.nodes[sink]
    assert isinstance(found.descriptor, SinkDescriptor)
    place = found.descriptor.place(found.params) if found.descriptor.place else sink
    return found.descriptor.name, place


def _written(graph: CheckedGraph, node: str) -> dict[str, Any]:
    """The parameters of a node as they are written, without secrets."""
    params = graph.nodes[node].node.model_dump(mode="json", by_alias=True).get("params") or {}
    cleaned: dict[str, Any] = json.loads(graph.redactor.clean(json.dumps(params)))
    return cleaned


def _said(node: str, changed: Mapping[str, tuple[Any, Any]]) -> str:
    """Which parameters of a node are another."""
    return f"{node}: " + ", ".join(
        f"{name} {_shown(was)} → {_shown(now)}" for name, (was, now) in changed.items()
    )


def _shown(value: Any) -> str:
    return "not given" if value is None else json.dumps(value, ensure_ascii=False)
