"""The steps that lead to another generation of an index, each of which may be the last of a process that dies.

What is to be made is noted first. Its stages run beside what serves, from where they had come, to where their topics
end now. What they made is verified against the log, record by record. Then the swap is noted, and made. So whoever
comes after a process that died does the same steps again, and those that were done already take no time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nvisy.audit.holdings import Holdings
from nvisy.audit.judging import Drift
from nvisy.audit.verify import KEPT, Verifying
from nvisy.errors import Refused
from nvisy.fault_points import Point, reach
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.compile import compile_graph
from nvisy.primitives.provenance import Version
from nvisy.runtime.counters import Report
from nvisy.runtime.dead_letters import DeadLetter, open_entries
from nvisy.runtime.generations import Generations, complete_swap, note, plan_under, sinks_of
from nvisy.runtime.kept_graph import kept
from nvisy.runtime.memory import Memory
from nvisy.runtime.run import Lane, Run
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink
from nvisy.topics.log import Claim, Log, Seat

Told = Callable[[str], None]
"""Is told what happens, in sentences."""
Watch = Callable[[Run], None]

State = Literal["served", "unchanged", "dropped", "drift", "dead_letters"]


@dataclass(slots=True)
class RebuildReport:
    """How a rebuild, a rollback or a finish ended.

    Attributes:
        state: `served`: readers see another generation than before. `unchanged`: there was nothing to do. `dropped`:
            what readers do not see is gone. `drift`, `dead_letters`: readers see what they saw, since the new index
            does not hold what the log says, or lacks documents that the former one has.
        generation: The one that readers see.
        kept: The one that they saw before, for a way back; 0 where there is none.
        stages: Stages that were run for it.
        replayed: Topics that these read, and did not make.
        written: Vectors that were written, and `model_calls` the texts that models were asked for.
        drift: What verifying found, the first thousand findings.
        dead_letters: Documents that failed here and had not failed before, as `source/key`.
        left: What could not be dropped, each in a sentence.
        duration_s: How long it took; `fill_s` to run the stages, `verify_s` to hold what they made against the log.
    """

    graph: str
    state: State = "unchanged"
    generation: int = 1
    kept: int = 0
    stages: Sequence[str] = ()
    replayed: Sequence[str] = ()
    written: int = 0
    model_calls: int = 0
    drift: list[Drift] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    fill_s: float = 0.0
    verify_s: float = 0.0
    duration_s: float = 0.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RebuildReport:
        """What `as_json` wrote."""
        return cls(**{**value, "drift": [_drift(one) for one in value["drift"]]})

    def as_json(self) -> dict[str, Any]:
        """What `nvisy rebuild --json` prints."""
        names = [name for name in self.__slots__ if name != "drift"]
        return {
            **{name: getattr(self, name) for name in names},
            "drift": [one.as_json() for one in self.drift],
        }


@dataclass(frozen=True, slots=True)
class Owned:
    """A graph that the caller owns, and its surroundings.

    Attributes:
        checked: The graph as it was given.
        told: Is told what happens.
        is_beside: A run of this process goes on meanwhile.
    """

    checked: CheckedGraph
    log: Log
    claim: Claim
    settings: Settings
    told: Told
    is_beside: bool = False

    @property
    def graph(self) -> str:
        """Its id."""
        return self.checked.graph.id

    def note(self, generations: Generations) -> Generations:
        """Write down how far it is."""
        return note(self.log, self.claim, self.graph, generations)

    def graph_of(self, generations: Generations, number: int) -> CheckedGraph:
        """The graph that a generation is an index of."""
        generation = generations.living[number]
        if generation.graph == kept(self.checked):
            return self.checked
        return generation.checked(self.checked, self.settings)


class Bringing:
    """Brings up one generation, which is noted as the target, until readers can see it."""

    def __init__(self, owned: Owned, generations: Generations, report: RebuildReport) -> None:
        self._owned = owned
        self._generations = generations
        self._report = report
        self.checked = owned.graph_of(generations, generations.target)
        self._layout = generations.living[generations.target].layout
        self.plan = plan_under(self.checked, self._layout)
        now = generations.living[generations.current]
        self._own = [stage for stage in self.plan.stages if stage.id not in now.stages]
        self._before = now.stages
        report.stages = [stage.id for stage in self._own]
        in_graph = compile_graph(self.checked).stages
        self._stages = [stage.id for stage in in_graph if self._layout.stage(stage.id) in report.stages]
        made = {topic for stage in self._own for topic in stage.outputs}
        read = (topic for stage in self._own for topic in stage.inputs)
        report.replayed = list(dict.fromkeys(topic for topic in read if topic not in made))

    def fill(self, watch: Watch = lambda _run: None) -> Report:
        """Run its stages to where their topics end now."""
        owned = self._owned
        owned.told(f"generation {self._generations.target}: {', '.join(self._report.stages)} read on")
        lane = Lane(self._layout, self._sweeps(), is_beside=owned.is_beside)
        run = Run(self.checked, stages=self._stages, lane=lane, settings=owned.settings)
        watch(run)
        started = time.monotonic()
        done = run.under(owned.log, owned.claim)
        self._report.fill_s = round(self._report.fill_s + time.monotonic() - started, 3)
        self._report.written += done.written
        self._report.model_calls += done.model_calls
        reach(Point.LANE_FILLED)
        return done

    def is_right(self, *, allow_dead_letters: bool) -> bool:
        """Whether it holds what the log says, and lacks nothing that the one that readers see has."""
        owned, report = self._owned, self._report
        report.drift, report.dead_letters, started = [], [], time.monotonic()
        for sink in (sink for stage in self._own for sink in stage.sinks):
            owned.told(f"generation {self._generations.target}: {sink} is verified")
            with closing(Holdings(self.checked, self.plan, sink, owned.log, owned.settings)) as holdings:
                Verifying(holdings, owned.log, self.plan, owned.settings, self._found).run(0.0)
        report.verify_s = round(time.monotonic() - started, 3)
        if report.drift:
            report.state = "drift"
            return False
        letters = list(open_entries(owned.log, owned.graph))
        missing = _of(letters, report.stages) - _of(letters, self._before)
        report.dead_letters = sorted(f"{source}/{key}" for source, key in missing)
        if missing and not allow_dead_letters:
            report.state = "dead_letters"
            return False
        reach(Point.LANE_VERIFIED)
        return True

    def note_swap(self, outcome: Mapping[str, Any] | None = None) -> Generations:
        """From here on readers are going to see it, whatever dies."""
        swapping = replace(self._generations, phase="swapping", outcome=outcome or {})
        self._generations = self._owned.note(swapping)
        reach(Point.SWAP_NOTED)
        return self._generations

    def _found(self, drift: Drift) -> None:
        if len(self._report.drift) < KEPT:
            self._report.drift.append(drift)

    def _sweeps(self) -> Mapping[str, Mapping[str, int]]:
        """What full passes over the sources did not confirm of the topics that are replayed: the index is rid of it.

        The stages that read these topics for the other generation remember up to where they were.
        """
        log, graph = self._owned.log, self._owned.graph
        plan = plan_under(
            self._owned.graph_of(self._generations, self._generations.current), self._generations.layout
        )
        sweeps: dict[str, dict[str, int]] = {}
        for stage in self._own:
            readers = [one for one in plan.stages if set(one.inputs) & set(stage.inputs)]
            for reader in readers:
                memory = Memory.seen(log.state(Seat(graph, reader.id, "", reader.inputs, reader.outputs)))
                for source in self.plan.sources_of(stage) & plan.sources_of(reader):
                    of_stage = sweeps.setdefault(stage.id, {})
                    of_stage[source] = max(of_stage.get(source, 0), memory.swept(source))
        return sweeps


def serve(owned: Owned, generations: Generations, report: RebuildReport) -> Generations:
    """Make the swap that was noted."""
    served = complete_swap(owned.log, owned.claim, generations, owned.checked, owned.settings)
    report.state, report.generation, report.kept = "served", served.current, served.kept
    return served


def drop(owned: Owned, generations: Generations, number: int, report: RebuildReport) -> Generations:
    """Remove a generation that readers do not see: its collections, its topics, what is noted of it."""
    if number == generations.current:
        raise Refused(f"generation {number} is what readers see")
    generations = owned.note(replace(generations, target=number, phase="dropping"))
    reach(Point.DROP_NOTED)
    gone, others = generations.living[number], generations.without(number).living.values()
    checked = owned.graph_of(generations, number)
    for sink in sinks_of(checked):
        collection = gone.layout.sink(sink)
        if any(collection == other.layout.sink(sink) for other in others):
            continue
        _, opened = open_sink(checked, sink, owned.settings.state, collection)
        if not opened.capabilities.generations or opened.current() == collection:
            report.left.append(
                f"the collection of {sink} is what its name leads to, though the graph writes another one by now: it"
                " stays until you drop it"
            )
            continue
        owned.told(f"generation {number}: the collection of {sink} is dropped")
        opened.drop(owned.claim.token)
        reach(Point.DROPPED)
    for topic in gone.topics:
        if not any(topic in other.topics for other in others):
            owned.log.delete(topic)
    report.state = "dropped"
    return owned.note(replace(generations.without(number), target=0, phase=""))


def _drift(value: Mapping[str, Any]) -> Drift:
    version, held = (Version(*one) if (one := value[name]) else None for name in ("version", "held"))
    return Drift(**{**value, "version": version, "held": held})


def _of(letters: Iterable[DeadLetter], stages: Iterable[str]) -> set[tuple[str, str]]:
    wanted = set(stages)
    return {(letter.source, letter.key) for letter in letters if letter.stage in wanted}
