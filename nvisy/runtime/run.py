"""Running a graph: claim it, make its topics, supervise its stages, report."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from nvisy.errors import NvisyError, Refused, Transient, Unreachable, UsageError
from nvisy.fault_points import Point, reach
from nvisy.graph.model import ActionNode, Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.generations import FIRST, Layout
from nvisy.plan.model import Plan, Stage
from nvisy.runtime import dead_letters
from nvisy.runtime.counters import Report, StageCounters, State
from nvisy.runtime.fork_server import STAGES
from nvisy.runtime.generations import (
    Generation,
    Generations,
    complete_swap,
    found_in_stores,
    generations_of,
    note,
    open_letters,
    plan_under,
    refuse,
)
from nvisy.runtime.history import History
from nvisy.runtime.kept_graph import kept
from nvisy.runtime.messages import StageSpec
from nvisy.runtime.owning import OwningThread
from nvisy.runtime.requests import Named, Request, standing
from nvisy.runtime.rerunning import Again
from nvisy.runtime.run_history import Ending, RunHistory
from nvisy.runtime.settings import Settings
from nvisy.runtime.stage_process import StageView
from nvisy.runtime.supervisor import Part, StageFailed, Supervisor
from nvisy.runtime.tidying import TidyingThread
from nvisy.runtime.view import RunSaid, last_view
from nvisy.topics.log import Claim, Log

_log = logging.getLogger(__name__)

GRACE_S = 5.0
"""How much longer a stage may be still than its slowest call: time for the call to be given up by itself."""

MAX_WORKERS = 256
"""Copies of a stage on one host at most: those of host h are numbered from 256 h."""
SOON_S = 3.0
"""A run that was replaced knows it by then."""
LOOK_S = 0.5
RECLAIM_S = 30.0
"""So long a run that made a swap waits for the claim, if somebody was quicker to take it."""

_JOINED = (
    "the run was started with --join, and hosts that join it would go on under the former graph: end it, do this again,"
    " and start it with the new graph when it is done"
)

Watch = Callable[[Plan, Mapping[str, StageView]], None]


@dataclass(frozen=True, slots=True)
class Lane:
    """Another generation than the one that readers see.

    Attributes:
        layout: The names under which it runs.
        sweep: By stage, where what fills its topics does not run: what has to be removed behind it, by source.
        is_beside: Another run of this process owns the graph, takes requests and says how it is.
    """

    layout: Layout
    sweep: Mapping[str, Mapping[str, int]]
    is_beside: bool = False


class Beside(Protocol):
    """Another generation that is brought up while a run goes on: see `nvisy.rebuilding.live`."""

    @property
    def is_ready(self) -> bool:
        """It holds what the log said a moment ago, and waits for the run's stages to end."""

    @property
    def is_over(self) -> bool:
        """Nothing more is going to become of it."""

    def finish(self, *, swap: bool) -> bool:
        """Bring in what is left, now that the stages have ended, and note the swap; or leave it as it is.

        Returns whether readers are to see it from the next claim on.
        """


Rebuilder = Callable[[Request, CheckedGraph, Claim, Settings], Beside]
"""Begins what was asked about the generations of a graph that the caller runs."""


class _Silent:
    """Stands for what an owner does beside its stages, where another run of this process does it."""

    def new_requests(self) -> Sequence[Request]:
        return ()

    def standing_requests(self) -> Sequence[Request]:
        return ()

    def watch(self, _views: Mapping[str, StageView]) -> None:
        pass

    def order(self) -> Request | None:
        return None

    def carried_out(self, _order: Request) -> None:
        pass


class _Over(Exception):  # noqa: N818 - a state of a claim
    """The claim that a joined run had a share in is over."""


class Run:
    """One run of a graph: `start` blocks until it ends, `stop` may be called from anywhere, a signal handler too.

    With `adopt` it goes on although a topic or the whole log is another one than the index and the positions are from:
    everything is read and sent again, and what that does not confirm is removed. With `replay` it tries these dead
    letters again, and runs the stages they failed in and those below, no others. Stages that only read topics of the
    graph run as `workers` processes each, which share the partitions. With `join` it runs the graph together with other
    hosts: it has further copies of these stages while another host owns the graph, and owns it when nobody else does.
    """

    def __init__(  # noqa: PLR0913 - one for each option
        self,
        graph: Graph | CheckedGraph,
        *,
        follow: bool = False,
        allow_mass_delete: bool = False,
        adopt: bool = False,
        workers: int = 1,
        join: bool = False,
        replay: Sequence[Named] = (),
        stages: Collection[str] | None = None,
        again: Again | None = None,
        lane: Lane | None = None,
        rebuilder: Rebuilder | None = None,
        settings: Settings | None = None,
        watch: Watch = lambda _plan, _views: None,
    ) -> None:
        """Prepare a run; with `stages`, of these alone, by their ids in the graph, on what is in their topics now.

        With `again`, what stands in the topics of a stage comes in there once more. With `lane` it is of another
        generation than the one that readers see. With `rebuilder` it carries out what is asked about generations while
        it goes on.

        Raises:
            UsageError: `join` without `follow`, or with `adopt`.
        """
        if join and not follow:
            raise UsageError("--join is for runs that go on: add --follow")
        if join and adopt:
            raise UsageError("--adopt is for a run of its own: run once with it, then start those that join")
        self.id = uuid4().hex[:12]
        self._checked = graph if isinstance(graph, CheckedGraph) else check(graph)
        self.plan = compile_graph(self._checked)
        self._follow = follow
        self._allow_mass_delete = allow_mass_delete
        self._adopt = adopt
        self._workers = workers
        self._join = join
        self._replay = tuple(replay)
        self._stages = stages
        self._again = again
        self._only: Collection[str] | None = None
        self._lane = lane
        self._rebuilder = rebuilder
        self._order: Request | None = None
        self._beside: Beside | None = None
        self._has_swapped = False
        self._settings = settings or Settings.from_environ()
        self._watch = watch
        self._names = lane.layout if lane is not None else FIRST
        self._kept: Collection[str] = ()
        self._supervisor: Supervisor | None = None
        self._run_history = RunHistory(self.plan.graph, self.id)
        self._stopped = False
        self._history = History()

    def stop(self) -> None:
        """Stop reading, finish what is in flight, end."""
        self._stopped = True
        if self._supervisor is not None:
            self._supervisor.stop()

    def start(self) -> Report:
        """Run to the end.

        Raises:
            Refused: Another run holds the graph, or it cannot be joined, or a topic does not fit it.
            UsageError: The log is not one that other hosts can reach, and they are to be joined.
            Unreachable: The log cannot be reached.
            StageFailed: A stage gave up; what it was given stays in the log for the next run.
        """
        started = time.monotonic()
        STAGES.warm()  # its imports go on while the graph is claimed
        with closing(self._settings.open_log()) as log:
            counters = self._together(log) if self._join else self._alone(log)
            return self._report(counters, log, time.monotonic() - started)

    def under(self, log: Log, claim: Claim) -> Report:
        """Run to the end under a claim that the caller holds, and goes on to hold. Raises what `start` does."""
        started = time.monotonic()
        return self._report(self._hold(log, claim), log, time.monotonic() - started)

    def _alone(self, log: Log) -> StageCounters:
        """One claim, or after each swap another one: whoever wrote before has a lower token then."""
        counters = StageCounters()
        while True:
            claim = self._claimed(log)
            with _released(claim):
                counters.add(self._hold(log, claim))
            if not self._has_swapped or self._stopped:
                return counters

    def _claimed(self, log: Log) -> Claim:
        until = time.monotonic() + (RECLAIM_S if self._has_swapped else 0.0)
        while True:
            try:
                return log.claim(self.plan.graph, owner_name(), self.plan.hash if self._follow else "")
            except Refused:
                if time.monotonic() > until:
                    raise
                time.sleep(LOOK_S)

    def _together(self, log: Log) -> StageCounters:
        """A share in one claim after the other, until the run is stopped or fails by itself."""
        counters = StageCounters()
        membership = log.join(self.plan.graph, owner_name(), self.plan.hash)
        is_first = True
        try:
            while (claim := membership.enter(lambda: not self._stopped)) is not None:
                with _released(claim):
                    try:
                        counters.add(self._hold(log, claim))
                        break
                    except _Over as over:
                        _log.warning("%s", over)
                    except StageFailed as failure:
                        if failure.exit_code != Refused.exit_code or not _is_over_soon(claim):
                            raise
                        _log.warning("%s", failure)  # whoever followed has fenced it
                    except Unreachable as error:
                        if is_first:
                            raise
                        _log.warning("%s; trying again", error)
                    counters.add(self._counted())
                is_first = False
        finally:
            membership.leave()
        return counters

    def _hold(self, log: Log, claim: Claim) -> StageCounters:
        """Do what a claim, or a share in it, gives a right to."""
        reach(Point.CLAIMED)
        self._supervisor = None
        generations = self._lay_out(log, claim)
        if claim.is_owner:
            make_topics(log, self._checked, self.plan)
            reach(Point.TOPICS_MADE)
            self._history = self._begun(log, generations)
            configs: Mapping[str, str] = {}
            self._say_if_idle()
        else:
            configs = self._configs(log, claim)
            if self._stopped:
                return StageCounters()
            self._history = History.of(log, self.plan.graph)
        with self._owning(log, claim) as owning:
            self._supervisor = Supervisor(
                self.plan,
                log,
                lambda stage: self._spec(stage, claim, configs.get(stage.id, "")),
                follow=self._follow,
                requests=owning,
                holds_claim=lambda: claim.remaining_s() > 0,
                going=lambda inc: self._is_going(log, claim, generations, inc),
                part=Part(
                    self._workers,
                    claim.host * MAX_WORKERS,
                    self._only,
                    joined=not claim.is_owner,
                    sweep=self._lane.sweep if self._lane is not None else {},
                ),
                watch=lambda views: self._see(log, claim, owning, views),
            )
            if self._stopped:
                self._supervisor.stop()
            self._has_swapped = False
            try:
                counters = self._supervisor.run()
            except BaseException:
                self._end_beside(swap=False)
                raise
            self._has_swapped = self._end_beside(swap=not self._stopped)
            return counters

    def _attend_order(self, log: Log, claim: Claim, owning: OwningThread | _Silent) -> None:
        """Begin what is asked about generations; once what it leads to is ready, the stages end for the swap."""
        if self._beside is None:
            self._order = owning.order() if self._follow and claim.is_owner else None
            if self._order is not None and self._join:
                refuse(log, claim, self.plan.graph, self._order.id, _JOINED)
                owning.carried_out(self._order)
            elif self._order is not None and self._rebuilder is not None:
                self._beside = self._rebuilder(self._order, self._checked, claim, self._settings)
        elif self._beside.is_over and self._order is not None:
            owning.carried_out(self._order)
            self._end_beside(swap=False)
        elif self._beside.is_ready and self._supervisor is not None:
            self._supervisor.stop()

    def _end_beside(self, *, swap: bool) -> bool:
        beside, self._beside = self._beside, None
        return beside is not None and beside.finish(swap=swap)

    def _lay_out(self, log: Log, claim: Claim) -> Generations | None:
        """Settle under which names the graph runs. A swap that somebody died in is completed first."""
        generations = generations_of(log, self.plan.graph)
        self._kept = {stage for one in generations.living.values() for stage in one.stages}
        if self._lane is None:
            if claim.is_owner and generations.phase == "swapping":
                generations = self._swapped(log, claim, generations)
            generations = found_in_stores(generations, self._checked, self._settings)
            self._names = generations.layout
            if self._has_swapped or self._is_asked_for(log, claim, generations):
                self._checked = generations.living[generations.current].checked(self._checked, self._settings)
        self.plan = plan_under(self._checked, self._names)
        if self._replay:
            self._only = self.plan.below({letter.stage for letter in self._replay})
        elif self._stages is not None:
            self._only = {self._names.stage(stage) for stage in self._stages}
        return generations if self._lane is None else None

    def _swapped(self, log: Log, claim: Claim, generations: Generations) -> Generations:
        """Make the swap that was noted; a run that goes on waits for a store, and takes its no for an answer."""
        while True:
            try:
                return complete_swap(log, claim, generations, self._checked, self._settings)
            except Refused as error:
                if not self._has_swapped:
                    raise
                _log.warning("readers see the index that they saw: %s", error)
                return generations_of(log, self.plan.graph)
            except (Transient, Unreachable) as error:
                if not self._follow or self._stopped:
                    raise Unreachable(str(error)) from error
                _log.warning("%s; trying again", error)
                time.sleep(LOOK_S)

    def _is_asked_for(self, log: Log, claim: Claim, generations: Generations) -> bool:
        """Whether the run is of the graph that an index is only just being built for, as a request says.

        An owner that died over it is started again with the file as it is by now: it goes on with the graph of the
        index that readers see, until the other one is built.
        """
        now = generations.living.get(generations.current)
        if now is None or self._rebuilder is None or not self._follow or now.is_of(self._checked):
            return False
        wanted = kept(self._checked)
        asked = standing(log, self.plan.graph) if claim.is_owner else ()
        return any(request.order.get("graph") == wanted for request in asked)

    def _note_graph(self, log: Log, claim: Claim, generations: Generations | None) -> None:
        """Keep the graph that is run now, all of whose stages are ready: a rebuild has to know what it replaces."""
        if generations is None or not claim.is_owner or self._only is not None:
            return
        number, layout = generations.current, generations.layout
        graph = Generation.of(self._checked, self.plan, layout)
        if generations_of(log, self.plan.graph).living.get(number) != graph:
            note(log, claim, self.plan.graph, generations.with_generation(number, graph))

    def _begun(self, log: Log, generations: Generations | None) -> History:
        """What the graph was so far, and that it is run as it is now; other generations do not count."""
        former = History.of(log, self.plan.graph)
        if generations is None:
            return former
        others = (one for number, one in generations.living.items() if number != generations.current)
        history = former.with_stages(self.plan, kept={stage for one in others for stage in one.stages})
        if history != former:
            history.write(log, self.plan.graph)
        return history

    def _is_going(self, log: Log, claim: Claim, generations: Generations | None, inc: int) -> int:
        """The incarnation from which on changes are numbered; noted first, for whoever follows a run that dies here."""
        self._note_graph(log, claim, generations)
        history = self._history.with_numbers(self.plan, inc)
        if generations is None or not claim.is_owner or self._only is not None:
            return self._history.least
        if history != self._history:
            history.write(log, self.plan.graph)
        return history.least

    def _counted(self) -> StageCounters:
        return self._supervisor.total() if self._supervisor is not None else StageCounters()

    def _configs(self, log: Log, claim: Claim) -> Mapping[str, str]:
        """How the owner's stages are configured, by id, once all of them are ready."""
        _log.info("joined the owner of graph %r as host %d", self.plan.graph, claim.host)
        while not self._stopped:
            if claim.is_over:
                raise self._over(claim)
            view = last_view(log, self.plan.graph)
            if view is not None and view.token == claim.token:
                configs = {stage: said.config for stage, said in view.stages.items()}
                if all(configs.get(stage.id) for stage in self.plan.stages):
                    return configs
            time.sleep(LOOK_S)
        return {}

    def _say_if_idle(self) -> None:
        if (idle := self._workers - self.plan.partitions) > 0:
            _log.warning(
                "%d workers for %d partitions: %d of each stage have nothing to do",
                self._workers,
                self.plan.partitions,
                idle,
            )

    @contextmanager
    def _owning(self, log: Log, claim: Claim) -> Iterator[OwningThread | _Silent]:
        """What the owner does beside, until the run is over."""
        if self._lane is not None and self._lane.is_beside:
            yield _Silent()
            return
        own = [Request("replay", self._replay)] if self._replay else []
        said = self._said(claim)
        self._run_history.began(said, self._only, joined=not claim.is_owner)
        owning = OwningThread(
            self._settings,
            self.plan,
            said,
            [*own, *standing(log, self.plan.graph)],
            history=self._run_history,
            is_owner=claim.is_owner,
            kept=self._kept,
        )
        owning.start()
        tidying = TidyingThread(self._settings, self.plan, lambda: not self._stopped)
        tidying.start()
        error, exit_code = "", 0
        try:
            yield owning
        except BaseException as failure:
            error = self._checked.redactor.clean(str(failure) or type(failure).__name__)
            exit_code = failure.exit_code if isinstance(failure, NvisyError) else 1
            raise
        finally:
            tidying.finish(failed=bool(error))
            state: State = "cancelled" if self._stopped and not self._follow else "completed"
            owning.finish(Ending("failed" if error else state, exit_code, error, self._counted()))

    def _said(self, claim: Claim) -> RunSaid:
        now_ms = time.time_ns() // 1_000_000
        return RunSaid(
            self.id,
            owner_name(),
            self.plan.hash,
            self._follow,
            now_ms,
            now_ms,
            token=claim.token,
            host=claim.host,
        )

    def _see(
        self, log: Log, claim: Claim, owning: OwningThread | _Silent, views: Mapping[str, StageView]
    ) -> None:
        if claim.is_over:
            raise self._over(claim)
        owning.watch(views)
        self._attend_order(log, claim, owning)
        self._watch(self.plan, views)

    def _over(self, claim: Claim) -> Exception:
        name = f"graph {self.plan.graph!r}"
        lost = f"{name} was taken over by {claim.lost_to} while this run was paused or cut off"
        if not self._join:
            return Refused(f"{lost}: this one ends")
        return _Over(lost if claim.lost_to else f"{name} has no owner any more, or another one")

    def _spec(self, stage: Stage, claim: Claim, config: str) -> StageSpec:
        origin = self._checked.graph.origin
        is_own = claim.is_owner and self._lane is None
        return StageSpec(
            graph=self._checked.graph.to_json(),
            file=str(origin.file or ""),
            folder=str(self._checked.folder),
            stage=stage.id,
            run=self.id,
            token=claim.token,
            log_url=self._settings.log_url,
            state=str(self._settings.state),
            follow=self._follow,
            allow_mass_delete=self._allow_mass_delete,
            adopt=self._adopt,
            hang_s=self._hang_s(stage),
            shared=claim.is_shared and stage.is_divisible,
            absences=self._history.absences.get(stage.id, 0),
            renumbered=is_own and self._history.numbers_otherwise(self.plan),
            config=config,
            layout=self._names.as_json(),
            again=self._again_at(stage),
        )

    def _again_at(self, stage: Stage) -> Mapping[str, Any] | None:
        """What of the input of a stage comes in again."""
        again = self._again
        return again.as_json() if again is not None and stage.id == self._names.stage(again.stage) else None

    def _hang_s(self, stage: Stage) -> float:
        """How long a stage may be still: longer than any of its nodes may take for one call."""
        nodes = [self._checked.nodes[name].node for name in stage.nodes]
        limits = [node.timeout.node_timeout_ms for node in nodes if isinstance(node, ActionNode)]
        limits_s = [limit / 1000 + GRACE_S for limit in limits if limit is not None]
        unlimited_s = [self._settings.hang_s] if not limits or None in limits else []
        return max(limits_s + unlimited_s)

    def _report(self, counters: StageCounters, log: Log, duration_s: float) -> Report:
        n_open = sum(1 for _ in open_letters(log, self.plan.graph))
        state: State = "degraded" if n_open else "completed"
        if self._stopped and not self._follow:
            state = "cancelled"
        return Report(
            run_id=self.id,
            graph=self.plan.graph,
            state=state,
            nodes={node.id: counters.node(node.id).as_json() for node in self._checked.graph.nodes},
            dead_letters=n_open,
            written=counters.written,
            removed=counters.removed,
            unchanged=counters.unchanged,
            model_calls=counters.model_calls,
            duration_s=round(duration_s, 3),
            first_read_at_us=counters.first_read_at_us or None,
            last_ack_at_us=counters.last_ack_at_us or None,
        )


@contextmanager
def _released(claim: Claim) -> Iterator[None]:
    try:
        yield
    finally:
        reach(Point.RELEASE)
        claim.release()


def _is_over_soon(claim: Claim) -> bool:
    """Whether it comes out within a moment that the claim is over."""
    deadline = time.monotonic() + SOON_S
    while not claim.is_over and time.monotonic() < deadline:
        time.sleep(LOOK_S / 5)
    return claim.is_over


def owner_name() -> str:
    """What this process calls itself where it claims a graph."""
    return f"{socket.gethostname()}:{os.getpid()}"


def make_topics(log: Log, checked: CheckedGraph, plan: Plan) -> None:
    """Create the topics of a plan, or verify those that are there.

    Raises:
        Refused: A topic has another number of partitions, or one that other programs fill is not there.
    """
    for topic in plan.topics:
        log.create(topic.name, plan.partitions)
    for stage in plan.stages:
        for inlet in stage.inlets:
            if inlet.kind == "foreign" and log.describe(inlet.name) is None:
                raise Refused(
                    f"source {inlet.node}: there is no topic {inlet.name!r} at {log.url}; create it first"
                )
        for outlet in stage.outlets:
            if outlet.kind == "foreign" and log.describe(name := checked.topic(outlet.node)) is None:
                log.create(name, plan.partitions, compacted=False)
    log.create(dead_letters.topic_of(plan.graph), plan.partitions)
