"""Which generations of a graph's indexes there are, and which one readers see: a record in the graph's state.

Whoever owns the graph writes it: a run notes the graph that it runs, a rebuild each of its steps. A swap is noted
before it is made, so that the next owner completes what one that died had begun.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

import orjson

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.errors import Fatal, NvisyError, Refused
from nvisy.fault_points import Point, reach
from nvisy.graph.hashing import graph_hash
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.diff import place_of
from nvisy.plan.generations import FIRST, Layout, laid_out
from nvisy.plan.model import Plan
from nvisy.runtime.dead_letters import DeadLetter, open_entries
from nvisy.runtime.kept_graph import graph_from, kept
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink, serving
from nvisy.topics.log import Claim, Log, Seat

FORMAT = 1
_NAME = "generations"

Phase = Literal["", "building", "swapping", "dropping"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Generation:
    """A generation that lives.

    Attributes:
        graph: The graph that it is an index of, as `kept_graph` keeps it.
        hash: Of that graph.
        configs: Of its stages, by id in the graph: they tell what its references stood for, as far as that matters.
        stages: Ids of the stages that it runs, those it shares too.
        topics: Those that its stages fill, likewise.
    """

    graph: str
    hash: str
    layout: Layout
    configs: Mapping[str, str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()

    @classmethod
    def of(cls, checked: CheckedGraph, plan: Plan, layout: Layout) -> Self:
        """The generation of a graph under these names; `plan` is laid out."""
        stages, topics = (tuple(one.id for one in plan.stages), tuple(one.name for one in plan.topics))
        return cls(kept(checked), plan.hash, layout, configs_of(checked), stages, topics)

    def is_of(self, checked: CheckedGraph) -> bool:
        """Whether it is an index of this graph, with what its references stand for now."""
        return self.hash == graph_hash(checked.graph) and self.configs == configs_of(checked)

    def checked(self, like: CheckedGraph, settings: Settings) -> CheckedGraph:
        """Its graph, in the folder of another version of it.

        Raises:
            GraphError: What it needs is no longer there: a variable, a function, a connector.
        """
        return check(graph_from(self.graph, like), like.catalog, settings.environ)


@dataclass(frozen=True, slots=True)
class Generations:
    """All of a graph's.

    Attributes:
        current: The one that readers see and runs write; 1 where nobody ever ran the graph.
        last: The highest number that was given.
        target: The one that is being made, or brought up again, or dropped; 0 where none is.
        phase: How far that is.
        token: Of the owner who wrote this.
        living: By number.
        outcome: What became of the last request that a live run carried out: its id as `order`, and its report.
    """

    current: int = 1
    last: int = 1
    target: int = 0
    phase: Phase = ""
    token: int = 0
    living: Mapping[int, Generation] = field(default_factory=dict)
    outcome: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layout(self) -> Layout:
        """The names under which the graph runs now."""
        return self.living[self.current].layout if self.current in self.living else FIRST

    @property
    def kept(self) -> int:
        """The generation that readers saw before, or 0."""
        others = self.living.keys() - {self.current, self.target}
        return max(others, default=0)

    def as_json(self) -> dict[str, Any]:
        """As it is kept, and shown."""
        living = {
            str(number): {**asdict(one), "layout": one.layout.as_json()}
            for number, one in self.living.items()
        }
        return {**asdict(self), "living": living}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """What `as_json` wrote."""
        living = {
            int(number): Generation(
                one["graph"],
                one["hash"],
                Layout.from_json(one["layout"]),
                one["configs"],
                tuple(one["stages"]),
                tuple(one["topics"]),
            )
            for number, one in value["living"].items()
        }
        return cls(**{**value, "living": living})

    def with_generation(self, number: int, generation: Generation) -> Self:
        """With one more, or another one of that number."""
        return replace(self, living={**self.living, number: generation}, last=max(self.last, number))

    def without(self, number: int) -> Self:
        """With one less."""
        return replace(self, living={n: one for n, one in self.living.items() if n != number})


def generations_of(log: Log, graph: str) -> Generations:
    """The generations of a graph.

    Raises:
        Refused: A later version of Nvisy wrote them down.
        Unreachable: The log does not answer.
    """
    return _read(log.state(_seat(graph)))


def open_letters(log: Log, graph: str) -> Iterator[DeadLetter]:
    """The dead letters that are open, but for those of an index that is only kept for a way back; oldest first."""
    generations = generations_of(log, graph)
    shown = {generations.current, generations.target}
    hidden = {
        stage for number, one in generations.living.items() if number not in shown for stage in one.stages
    }
    hidden -= {
        stage for number in shown & generations.living.keys() for stage in generations.living[number].stages
    }
    return (letter for letter in open_entries(log, graph) if letter.stage not in hidden)


def note(log: Log, claim: Claim, graph: str, generations: Generations) -> Generations:
    """Write them down, as the owner of the graph. Returns what is written.

    Raises:
        Refused: Somebody else has owned the graph since.
        Unreachable: The log does not answer.
    """
    noted = replace(generations, token=claim.token)
    session = log.session(_seat(graph))  # whoever else writes here is fenced from now on
    try:
        if claim.remaining_s() <= 0 or _read(session.state()).token > claim.token:
            raise Refused(f"graph {graph!r} has another owner by now: this one stops")
        session.commit({}, {_NAME: orjson.dumps({"format": FORMAT, **noted.as_json()})})
    finally:
        session.close()
    return noted


def refuse(log: Log, claim: Claim, graph: str, order: str, why: str) -> None:
    """Write down that a request is not carried out, as `note` does."""
    outcome = {"order": order, "error": why, "exit_code": Refused.exit_code}
    note(log, claim, graph, replace(generations_of(log, graph), outcome=outcome))


def plan_of(log: Log, checked: CheckedGraph) -> Plan:
    """The plan of a graph, under the names that it runs under now."""
    return plan_under(checked, generations_of(log, checked.graph.id).layout)


def plan_under(checked: CheckedGraph, layout: Layout) -> Plan:
    """The plan of a graph, under the names of a generation.

    A sink that the generation was made without writes where another one that shares its collection does.
    """
    plan = compile_graph(checked)
    sinks = [sink for stage in plan.stages for sink in stage.sinks]
    known = {place_of(checked, sink): layout.sinks[sink] for sink in sinks if sink in layout.sinks}
    shared = {sink: known[place] for sink in sinks if (place := place_of(checked, sink)) in known}
    return laid_out(plan, replace(layout, sinks={**layout.sinks, **shared}))


def complete_swap(
    log: Log, claim: Claim, generations: Generations, like: CheckedGraph, settings: Settings
) -> Generations:
    """Carry out the swap that was noted, whoever noted it. Returns what is noted then.

    Where a store does not let readers see the new generation, they see the former one again, and it goes on.

    Raises:
        Refused: A store does not let us, or somebody else has owned the graph since.
        Transient, Unreachable: A store or the log does not answer; the next owner completes it.
    """
    graph, target = like.graph.id, generations.target
    generation, before = generations.living[target], generations.layout
    checked = generation.checked(like, settings)
    try:
        for sink in sinks_of(checked):
            number = generation.layout.sink(sink)
            if number != before.sink(sink):
                _, opened = open_sink(checked, sink, settings.state, number)
                opened.serve(claim.token)
                reach(Point.SERVED)
    except Refused as error:
        _serve_again(claim, generations, like, settings)
        note(log, claim, graph, replace(generations, target=0, phase="", outcome=_failed(generations, error)))
        raise
    _log.info("graph %s: readers see generation %d now", graph, target)
    return note(log, claim, graph, replace(generations, current=target, target=0, phase=""))


def _serve_again(claim: Claim, generations: Generations, like: CheckedGraph, settings: Settings) -> None:
    """Point readers at the generation that they saw, where they see the new one already."""
    checked = generations.living[generations.current].checked(like, settings)
    plan = plan_under(checked, generations.layout)
    for stage in plan.stages:
        for sink in stage.sinks:
            number = stage.generation(sink)
            _, opened = open_sink(checked, sink, settings.state, number)
            if opened.capabilities.generations and opened.current() not in {None, number}:
                opened.serve(claim.token)


def _failed(generations: Generations, error: NvisyError) -> Mapping[str, Any]:
    """What becomes of the request that led to a swap, where that failed."""
    order = generations.outcome.get("order", "")
    return {"order": order, "error": str(error), "exit_code": error.exit_code}


def configs_of(checked: CheckedGraph) -> Mapping[str, str]:
    """How the stages of a graph are configured, by id."""
    return {stage.id: stage.config for stage in compile_graph(checked).stages}


def sinks_of(checked: CheckedGraph) -> Iterator[str]:
    """The sink nodes of a graph that keep records."""
    for node in checked.nodes.values():
        if isinstance(node.descriptor, SinkDescriptor) and node.descriptor.topic is None:
            yield node.node.id


def found_in_stores(generations: Generations, checked: CheckedGraph, settings: Settings) -> Generations:
    """Where a log knows nothing of the graph yet: with the collections that readers see, to go on with those.

    They may be of a log that was lost.

    Raises:
        Unreachable: A store does not answer.
    """
    if generations.living:
        return generations
    seen: dict[str, int] = {}
    for sink in sinks_of(checked):
        try:
            seen[sink] = serving(checked, sink, settings.state)
        except Fatal as error:
            _log.debug("sink %s: %s", sink, error)  # its stage says so, and what to do
    later = {sink: number for sink, number in seen.items() if number > 1}
    if not later:
        return generations
    plan = plan_under(checked, layout := Layout(1, sinks=later))
    found = replace(generations, last=max(later.values()))
    return found.with_generation(1, Generation.of(checked, plan, layout))


def _seat(graph: str) -> Seat:
    return Seat(graph, "/generations", "", (), ())


def _read(state: Mapping[str, bytes]) -> Generations:
    if _NAME not in state:
        return Generations()
    value: dict[str, Any] = orjson.loads(state[_NAME])
    if (found := value.pop("format", None)) != FORMAT:
        raise Refused(
            f"the generations of the graph are noted in format {found}, this version of nvisy reads format"
            f" {FORMAT}: upgrade nvisy"
        )
    return Generations.from_json(value)
