"""Runs a plan: one process per stage, started together, ended in the order of the data.

A stage process that dies, or hangs, is started again, as long as that brings something forward (`poison.py` sees to it
that one bad record does not keep it from doing so); one that says why it failed ends the run. When a stage is
through, the end of its topics is the end of the input of the stages behind it: so a run ends when everything its
sources produced has reached the sinks, and a stage that was started again learns the same ends again.
"""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, Protocol

from nvisy.errors import NvisyError, Refused, Unreachable
from nvisy.fault_points import Point, reach
from nvisy.plan.model import Plan, Stage
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.messages import StageSpec, line
from nvisy.runtime.passes import Passes
from nvisy.runtime.poison import LIVES
from nvisy.runtime.requests import Request, as_lists
from nvisy.runtime.stage_process import StageProcess, StageView
from nvisy.topics.log import Log, Seat

MAX_RESTARTS = 5
MAX_DEALS = 20
LAG_S = 1.0
LAG_PAUSE_S = 30.0
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 10.0
STOP_S = 25.0
CLAIM_WAIT_S = 20.0
"""So long a bounded run waits until it knows again that it holds the graph."""

_log = logging.getLogger(__name__)


class StageFailed(NvisyError):  # noqa: N818 - a state of a stage
    """A stage ended with an error of its own, whose exit code this one has."""

    def __init__(self, stage: str, message: str, exit_code: int) -> None:
        self.stage = stage
        self.exit_code = exit_code
        super().__init__(f"stage {stage}: {message}")


@dataclass(frozen=True, slots=True)
class Part:
    """What of a plan a supervisor runs.

    Attributes:
        workers: Copies of each stage that can be divided.
        first_slot: The number of the first of these copies.
        only: These stages alone, on what is in their topics now.
        joined: Another host owns the graph: stages that can be divided alone, and nothing that has to be done once.
        sweep: By stage, where what fills its topics does not run: what full passes have not confirmed there, and has to
            be removed behind it; by source.
    """

    workers: int = 1
    first_slot: int = 0
    only: Collection[str] | None = None
    joined: bool = False
    sweep: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def has(self, stage: Stage) -> bool:
        """Whether a stage belongs to it."""
        return stage.is_divisible if self.joined else self.only is None or stage.id in self.only


class Requests(Protocol):
    """What others ask the owner of the graph to do."""

    def new_requests(self) -> Sequence[Request]:
        """Those that came since the last call."""

    def standing_requests(self) -> Sequence[Request]:
        """Those that are not carried out yet: a stage that is started again is told of them again."""


class Supervisor:
    """Runs the stages of one plan until they are done, one of them fails, or it is told to stop."""

    def __init__(
        self,
        plan: Plan,
        log: Log,
        spec: Callable[[Stage], StageSpec],
        *,
        follow: bool,
        requests: Requests,
        holds_claim: Callable[[], bool] = lambda: True,
        going: Callable[[int], int] = lambda inc: inc,
        part: Part = Part(),
        watch: Callable[[Mapping[str, StageView]], None] = lambda _views: None,
    ) -> None:
        """Supervise the stages of `plan`, or a part of them.

        Before any of them begins, `going` is told which incarnation collections ask for, and says which it is to be.
        """
        self._plan = plan
        self._log = log
        self._spec = spec
        self._follow = follow
        self._requests = requests
        self._holds_claim = holds_claim
        self._going = going
        self._part = part
        self._watch = watch
        self._events: queue.SimpleQueue[tuple[str, int, dict[str, Any]]] = queue.SimpleQueue()
        self._children: dict[str, StageProcess] = {}
        self._stopping_until: float | None = None
        self._lag_asked = 0.0
        self._passes = Passes(plan, log)
        self._inc: int | None = None
        self._stop = threading.Event()

    def stop(self) -> None:
        """Stop reading, finish what is in flight, end. Safe to call from a signal handler."""
        self._stop.set()

    def run(self) -> StageCounters:
        """Run to the end. Returns what all stages counted.

        Raises:
            StageFailed: A stage gave up; the others were stopped, and what is in the log waits for the next run.
        """
        try:
            for stage in self._plan.stages:
                if self._part.has(stage):
                    self._start(stage)
            self._end_what_nobody_fills()
            while not self._is_done():
                self._turn()
            return self.total()
        finally:
            for child in self._children.values():
                child.end()

    def views(self) -> Mapping[str, StageView]:
        """The stages as they are now, by id; where there are copies, each by `<id>/<number>`."""
        return {name: child.view for name, child in self._children.items()}

    def _is_done(self) -> bool:
        if self._part.joined and not self._children:
            return self._stop.is_set()  # nothing can be divided: this host stands by
        return all(child.view.status == "done" for child in self._children.values())

    def _start(self, stage: Stage) -> None:
        copies, first = (self._part.workers, self._part.first_slot) if stage.is_divisible else (1, 0)
        for number in range(copies):
            name = stage.id if copies == 1 else f"{stage.id}/{number}"
            leads = number == 0 and not self._part.joined
            spec = replace(self._spec(stage), slot=first + number, slots=copies, leads=leads)
            self._children[name] = StageProcess(name, stage, spec, self._events)

    def _copies(self, stage: str) -> list[StageProcess]:
        return [child for child in self._children.values() if child.view.stage.id == stage]

    def total(self) -> StageCounters:
        """What all stages have counted by now."""
        total = StageCounters()
        for child in self._children.values():
            total.add(child.view.counters)
        return total

    def _turn(self) -> None:
        if self._stop.is_set() and self._stopping_until is None:
            self._stopping_until = time.monotonic() + STOP_S
            self._tell_all(line("stop"))
        if self._stopping_until is not None and time.monotonic() > self._stopping_until:
            late = [name for name, child in self._children.items() if child.view.status != "done"]
            raise StageFailed(late[0], f"did not stop within {STOP_S:.0f} s and was ended", 1)
        self._ask_lag()
        self._restart_due()
        for child in self._children.values():
            child.watch()
        for request in self._requests.new_requests():
            for child in self._children.values():
                if child.view.status == "running":
                    self._pass_on(child, request)
        try:
            name, life, message = self._events.get(timeout=0.1)
            child = self._children[name]
            if life == child.life:
                self._handle(child, message)
        except queue.Empty:
            pass
        self._watch(self.views())

    def _handle(self, child: StageProcess, message: dict[str, Any]) -> None:
        view = child.view
        match message["kind"]:
            case "ready":
                child.seated()
                view.status = "ready"
                view.seat = Seat(
                    self._plan.graph, view.stage.id, message["config"], view.stage.inputs, view.stage.outputs
                )
                child.behind = message["behind"]
                self._go()
            case "passed":
                self._passes.passed(view.stage, message["sources"])
            case "counters":
                child.counted(message["counters"])
                child.outages = 0 if child.worked else child.outages
                view.in_flight = message["in_flight"]
                view.waiting = ""
                child.watchdog.heard(moving=message["moving"])
            case "moved":
                child.deaths = child.deals = 0
            case "waiting":
                view.waiting = message["error"]
            case "log":
                logging.getLogger(message["name"]).log(message["level"], "%s", message["text"])
            case "failed":
                child.error = (message["error"], message["exit_code"])
                child.again = message["again"]
            case "done":
                child.through = True
                child.read = {(topic, partition) for topic, partition in message["read"]}
            case "exit":
                self._exited(child, message["code"])

    def _ask_lag(self) -> None:
        """How far each stage is behind its topics; unknown, and never zero, where the log does not say."""
        waiting = any(child.view.status == "starting" for child in self._children.values())
        if waiting or time.monotonic() - self._lag_asked < LAG_S:
            return  # a log that is down would take its time to say so, while a stage is to be started again
        self._lag_asked = time.monotonic()
        for stage in self._plan.stages:
            copies = [child for child in self._copies(stage.id) if child.view.status != "done"]
            if not copies or not stage.inputs or copies[0].view.seat is None:
                continue
            try:
                lag = self._log.lag(copies[0].view.seat)
                for child in copies:
                    child.view.lag = sum(max(end - committed, 0) for committed, end in lag.values())
                    child.view.committed = {at: committed for at, (committed, _) in lag.items()}
                if self._follow and not self._part.joined and copies[0].view.status == "running":
                    self._hand_on(copies[0])
            except Unreachable:
                for child in copies:
                    child.view.lag = None
                self._lag_asked = time.monotonic() + LAG_PAUSE_S
                return

    def _hand_on(self, child: StageProcess) -> None:
        """Tell one copy of a stage of the passes that all of them have taken in."""
        if due := self._passes.due(child.view.stage, child.view.committed):
            child.handed = {**child.handed, **due}
            child.send(line("sweep", sources=due))

    def _go(self) -> None:
        """Let the ready ones run once every stage has proved that it can."""
        if all(child.view.status != "starting" for child in self._children.values()):
            if self._inc is None:
                self._inc = self._going(self._incarnation())
            reach(Point.STAGE_GOES)
            for child in self._children.values():
                if child.view.status == "ready":
                    child.view.status = "running"
                    child.worked = True
                    child.send(line("go", inc=self._inc))
                    for request in self._requests.standing_requests():
                        self._pass_on(child, request)
                    if child.handed:  # whoever died of it may not have carried it out
                        child.send(line("sweep", sources=child.handed))
                    self._drain(child)

    def _pass_on(self, child: StageProcess, request: Request) -> None:
        if named := request.of_stage(child.view.stage.id):
            is_poison = child.killers[request.id] >= LIVES
            child.send(line(request.kind, letters=as_lists(named), is_poison=is_poison))
            child.asked.append(request.id)

    def _incarnation(self) -> int:
        """What versions have to begin with so that no collection takes them for old; 0 where any will do."""
        inc = max((child.behind for child in self._children.values()), default=0)
        if inc and self._part.joined:
            raise Refused(
                "an index holds versions that the log knows nothing of, of a copy that this host runs: end the run that"
                " owns the graph, and start it anew, to send everything again"
            )
        if inc and self._part.only is not None:
            raise Refused(
                "an index holds versions that the log knows nothing of: run the graph first, to send everything again"
            )
        if inc:
            _log.warning(
                "an index holds what the log knows nothing of, or is adopted, or another topic numbers its documents:"
                " everything is sent again, as incarnation %d, and what is not confirmed by that is removed",
                inc,
            )
        return inc

    def _exited(self, child: StageProcess, code: int) -> None:
        view = child.view
        if code == 0 and child.through:  # a user's function can end its process with any code
            view.status, view.lag, view.waiting = "done", None, ""
            self._copy_done(child)
            return
        if child.error is not None:
            message, exit_code = child.error
            view.error = message
            if child.again and child.deals < MAX_DEALS and not self._stop.is_set():
                child.deals += 1
                _log.info("stage %s: %s", child.name, message)
                view.status, child.due = "starting", time.monotonic()
                return
            if exit_code == Unreachable.exit_code and self._may_wait(child):
                view.status, view.waiting = "starting", message
                wait_s = min(FIRST_WAIT_S * 2**child.outages, LONGEST_WAIT_S)
                child.outages += 1
                child.due = time.monotonic() + wait_s
                _log.warning("stage %s: %s; trying again in %.0f s", view.stage.id, message, wait_s)
                return
            if exit_code == Unreachable.exit_code and self._follow and self._stop.is_set():
                _log.warning("stage %s: %s; what it was to write waits in the log", view.stage.id, message)
                view.status = "done"
                return
            view.status = "failed"
            raise StageFailed(view.stage.id, message, exit_code)
        died_of = child.hung or (signal.Signals(-code).name if code < 0 else f"exit code {code}")
        child.deaths += 1
        child.killers.update(child.asked)
        if child.deaths > MAX_RESTARTS or self._stop.is_set():
            view.status = "failed"
            times = "once" if child.deaths == 1 else f"{child.deaths} times and brought nothing forward"
            raise StageFailed(view.stage.id, f"its process died {times}; the last time: {died_of}", 1)
        view.error = f"its process ended: {died_of}"
        _log.warning("stage %s: its process ended (%s) and is started again", child.name, died_of)
        child.restart(died_of)

    def _copy_done(self, child: StageProcess) -> None:
        """Go on below once all copies of a stage are through, and everything was read by one of them."""
        copies = self._copies(child.view.stage.id)
        if any(copy.view.status != "done" for copy in copies):
            for copy in copies:
                if copy.view.status == "running":
                    self._drain(copy)
            return
        ends = child.ends if not self._stop.is_set() else None
        wanted = {(topic, partition) for topic, partition, end in ends or () if end > 0}
        if unread := wanted - set().union(*(copy.read for copy in copies)):
            # Members of a former run may keep their partitions for a while after they died.
            _log.info("stage %s: %d partitions are not given out yet", child.name, len(unread))
            child.view.status = "starting"
            child.due = time.monotonic() + FIRST_WAIT_S
            return
        reach(Point.STAGE_THROUGH)
        self._drain_below(child.view.stage)

    def _may_wait(self, child: StageProcess) -> bool:
        """An outage is waited for when the graph is followed, unless it never worked in the first place."""
        return self._follow and not self._stop.is_set() and (child.worked or child.outages > 0)

    def _restart_due(self) -> None:
        """Start those again whose outage has been waited for long enough."""
        for child in self._children.values():
            if child.due is None:
                continue
            if self._stop.is_set():
                child.due = None
                child.view.status = "done"
            elif time.monotonic() < child.due:
                continue
            elif not child.again or self._holds_claim():
                child.restart()
            elif not self._follow and time.monotonic() > child.due + CLAIM_WAIT_S:
                self._give_up(child)

    def _give_up(self, child: StageProcess) -> NoReturn:
        """A bounded run does not wait for a log that lets nobody know any more who holds the graph."""
        assert child.error is not None
        message, exit_code = child.error
        child.view.status = "failed"
        raise StageFailed(
            child.view.stage.id,
            f"{message}; nor could the claim on the graph be renewed for {CLAIM_WAIT_S:.0f} s",
            exit_code,
        )

    def _drain_below(self, done: Stage) -> None:
        """The stages behind `done` have their whole input now: tell them where it ends."""
        if self._follow or self._stop.is_set():
            return
        for stage in self._plan.stages:
            if self._copies(stage.id) and done.id in stage.upstream and self._all_done(stage):
                self._end(stage)

    def _end(self, stage: Stage) -> None:
        """A stage has its whole input now."""
        ends, (first, *_) = self._ends_of(stage), self._copies(stage.id)
        first.sweep = self._passes.due(stage)
        for copy in self._copies(stage.id):
            copy.ends = ends
            if copy.view.status == "running":
                self._drain(copy)

    def _end_what_nobody_fills(self) -> None:
        """Where a part of the plan is run alone, its topics end where they end now."""
        if self._follow:
            return
        for child in self._children.values():
            upstream = child.view.stage.upstream
            if upstream and not any(self._copies(name) for name in upstream):
                child.ends = self._ends_of(child.view.stage)
                if child is self._copies(child.view.stage.id)[0]:
                    child.sweep = self._part.sweep.get(child.view.stage.id, {})

    def _drain(self, child: StageProcess) -> None:
        """Tell a copy of a stage where its input ends, if that is known. The one that sweeps then is told last."""
        others = (one for one in self._copies(child.view.stage.id) if one is not child)
        if child.ends is None or (child.sweep and any(one.view.status != "done" for one in others)):
            return
        child.send(line("drain", ends=child.ends, sweep=child.sweep))

    def _all_done(self, stage: Stage) -> bool:
        return all(child.view.status == "done" for name in stage.upstream for child in self._copies(name))

    def _ends_of(self, stage: Stage) -> list[tuple[str, int, int]]:
        ends: list[tuple[str, int, int]] = []
        for topic in stage.inputs:
            info = self._log.describe(topic, settled=True)
            if info is not None:
                ends += [(topic, partition, end) for partition, end in info.end.items()]
        return ends

    def _tell_all(self, message: bytes) -> None:
        for child in self._children.values():
            if child.view.status != "done":
                child.send(message)
