"""Running a graph: claim it, make its topics, supervise its stages, report."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from uuid import uuid4

from nvisy.errors import Refused
from nvisy.fault_points import Point, reach
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Plan, Stage
from nvisy.runtime import dead_letters
from nvisy.runtime.counters import Report, StageCounters, State
from nvisy.runtime.messages import StageSpec
from nvisy.runtime.settings import Settings
from nvisy.runtime.supervisor import StageView, Supervisor
from nvisy.topics.log import Log

Watch = Callable[[Plan, Mapping[str, StageView]], None]


class Run:
    """One run of a graph: `start` blocks until it ends, `stop` may be called from anywhere, a signal handler too.

    With `adopt` it goes on although a topic or the whole log is another one than the index and the positions are from:
    everything is read and sent again, and what that does not confirm is removed.
    """

    def __init__(
        self,
        graph: Graph | CheckedGraph,
        *,
        follow: bool = False,
        allow_mass_delete: bool = False,
        adopt: bool = False,
        settings: Settings | None = None,
        watch: Watch = lambda _plan, _views: None,
    ) -> None:
        self.id = uuid4().hex[:12]
        self._checked = graph if isinstance(graph, CheckedGraph) else check(graph)
        self.plan = compile_graph(self._checked)
        self._follow = follow
        self._allow_mass_delete = allow_mass_delete
        self._adopt = adopt
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
            claim = log.claim(self.plan.graph, f"{socket.gethostname()}:{os.getpid()}")
            reach(Point.CLAIMED)
            try:
                make_topics(log, self._checked, self.plan)
                reach(Point.TOPICS_MADE)
                self._supervisor = Supervisor(
                    self.plan,
                    log,
                    lambda stage: self._spec(stage, claim.token),
                    follow=self._follow,
                    watch=lambda views: self._watch(self.plan, views),
                )
                if self._stopped:
                    self._supervisor.stop()
                counters = self._supervisor.run()
                n_open = sum(1 for _ in dead_letters.open_entries(log, self.plan.graph))
            finally:
                reach(Point.RELEASE)
                claim.release()
        return self._report(counters, n_open, time.monotonic() - started)

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
        )

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
