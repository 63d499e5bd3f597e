"""Running a graph: claim it, make its topics, supervise its stages, report."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from uuid import uuid4

from nvisy.errors import Refused
from nvisy.fault_points import Point, reach
from nvisy.graph.model import ActionNode, Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Plan, Stage
from nvisy.runtime import dead_letters
from nvisy.runtime.counters import Report, StageCounters, State
from nvisy.runtime.messages import StageSpec
from nvisy.runtime.owning import OwningThread
from nvisy.runtime.requests import Named, Request, standing
from nvisy.runtime.settings import Settings
from nvisy.runtime.stage_process import StageView
from nvisy.runtime.supervisor import Supervisor
from nvisy.runtime.view import RunSaid
from nvisy.topics.log import Claim, Log

_log = logging.getLogger(__name__)

GRACE_S = 5.0
"""How much longer a stage may be still than its slowest call: time for the call to be given up by itself."""

Watch = Callable[[Plan, Mapping[str, StageView]], None]


class Run:
    """One run of a graph: `start` blocks until it ends, `stop` may be called from anywhere, a signal handler too.

    With `adopt` it goes on although a topic or the whole log is another one than the index and the positions are from:
    everything is read and sent again, and what that does not confirm is removed. With `replay` it tries these dead
    letters again, and runs the stages they failed in and those below, no others. Stages that only read topics of the
    graph run as `workers` processes each, which share the partitions.
    """

    def __init__(
        self,
        graph: Graph | CheckedGraph,
        *,
        follow: bool = False,
        allow_mass_delete: bool = False,
        adopt: bool = False,
        workers: int = 1,
        replay: Sequence[Named] = (),
        settings: Settings | None = None,
        watch: Watch = lambda _plan, _views: None,
    ) -> None:
        self.id = uuid4().hex[:12]
        self._checked = graph if isinstance(graph, CheckedGraph) else check(graph)
        self.plan = compile_graph(self._checked)
        self._follow = follow
        self._allow_mass_delete = allow_mass_delete
        self._adopt = adopt
        self._workers = workers
        self._replay = tuple(replay)
        self._settings = settings or Settings.from_environ()
        self._watch = watch
        self._supervisor: Supervisor | None = None
        self._stopped = False

    def stop(self) -> None:
        """Stop reading, finish what is in flight, end."""
        self._stopped = True
        if self._supervisor is not None:
            self._supervisor.stop()

    def start(self) -> Report:
        """Run to the end.

        Raises:
            Refused: Another run holds the graph, or a topic does not fit it.
            Unreachable: The log cannot be reached.
            StageFailed: A stage gave up; what it was given stays in the log for the next run.
        """
        started = time.monotonic()
        with closing(self._settings.open_log()) as log:
            claim = log.claim(self.plan.graph, owner_name())
            reach(Point.CLAIMED)
            try:
                make_topics(log, self._checked, self.plan)
                reach(Point.TOPICS_MADE)
                self._say_if_idle()
                with self._owning(log) as owning:
                    self._supervisor = Supervisor(
                        self.plan,
                        log,
                        lambda stage: self._spec(stage, claim.token),
                        follow=self._follow,
                        requests=owning,
                        holds_claim=lambda: claim.remaining_s() > 0,
                        workers=self._workers,
                        only=self.plan.below({letter.stage for letter in self._replay})
                        if self._replay
                        else None,
                        watch=lambda views: self._see(claim, owning, views),
                    )
                    if self._stopped:
                        self._supervisor.stop()
                    counters = self._supervisor.run()
                n_open = sum(1 for _ in dead_letters.open_entries(log, self.plan.graph))
            finally:
                reach(Point.RELEASE)
                claim.release()
        return self._report(counters, n_open, time.monotonic() - started)

    def _say_if_idle(self) -> None:
        if (idle := self._workers - self.plan.partitions) > 0:
            _log.warning(
                "%d workers for %d partitions: %d of each stage have nothing to do",
                self._workers,
                self.plan.partitions,
                idle,
            )

    @contextmanager
    def _owning(self, log: Log) -> Iterator[OwningThread]:
        """What the owner does beside, until the run is over."""
        own = [Request("replay", self._replay)] if self._replay else []
        owning = OwningThread(
            self._settings, self.plan, self._said(), [*own, *standing(log, self.plan.graph)]
        )
        owning.start()
        error = ""
        try:
            yield owning
        except BaseException as failure:
            error = self._checked.redactor.clean(str(failure) or type(failure).__name__)
            raise
        finally:
            owning.finish(error)

    def _said(self) -> RunSaid:
        now_ms = time.time_ns() // 1_000_000
        return RunSaid(self.id, owner_name(), self.plan.hash, self._follow, now_ms, now_ms)

    def _see(self, claim: Claim, owning: OwningThread, views: Mapping[str, StageView]) -> None:
        if claim.lost_to:
            raise Refused(
                f"graph {self.plan.graph!r} was taken over by {claim.lost_to} while this run was paused or cut off:"
                " this one ends"
            )
        owning.watch(views)
        self._watch(self.plan, views)

    def _spec(self, stage: Stage, token: int) -> StageSpec:
        origin = self._checked.graph.origin
        return StageSpec(
            graph=self._checked.graph.to_json(),
            file=str(origin.file or ""),
            folder=str(self._checked.folder),
            stage=stage.id,
            run=self.id,
            token=token,
            log_url=self._settings.log_url,
            state=str(self._settings.state),
            follow=self._follow,
            allow_mass_delete=self._allow_mass_delete,
            adopt=self._adopt,
            hang_s=self._hang_s(stage),
        )

    def _hang_s(self, stage: Stage) -> float:
        """How long a stage may be still: longer than any of its nodes may take for one call."""
        nodes = [self._checked.nodes[name].node for name in stage.nodes]
        limits = [node.timeout.node_timeout_ms for node in nodes if isinstance(node, ActionNode)]
        if not limits or None in limits:
            return self._settings.hang_s
        return max(limit / 1000 for limit in limits if limit is not None) + GRACE_S

    def _report(self, counters: StageCounters, n_open: int, duration_s: float) -> Report:
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


def run(
    graph: Graph | CheckedGraph,
    *,
    follow: bool = False,
    allow_mass_delete: bool = False,
    adopt: bool = False,
    settings: Settings | None = None,
) -> Report:
    """Run a graph from this process, to its end. See `Run` for what can go wrong."""
    return Run(
        graph, follow=follow, allow_mass_delete=allow_mass_delete, adopt=adopt, settings=settings
    ).start()


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
