"""What the owner of a graph does beside running its stages: says how the run is, takes requests, closes what is gone.

A host that has joined it says how its part is, and takes the same requests, since its copies of a stage may be those
that have to carry them out; to answer them is for the owner.

A thread of its own with a log of its own: a log that does not answer holds up this and nothing else.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from nvisy.errors import NvisyError, Refused
from nvisy.plan.model import Plan
from nvisy.runtime import dead_letters
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.requests import ABOUT_GENERATIONS, Answers, Inbox, Request, answered
from nvisy.runtime.run_history import Ending, RunHistory, make_runs_topic
from nvisy.runtime.settings import Settings
from nvisy.runtime.stage_process import StageView
from nvisy.runtime.view import Observer, RunSaid, as_state, hosts_seat, owners_seat
from nvisy.topics.log import Append, Log, Session

EVERY_S = 1.0
UNCHANGED_S = 5.0
OUTAGE_S = 5.0
FINISH_S = 5.0

_log = logging.getLogger(__name__)


class OwningThread:
    """Runs from when the graph is claimed to shortly before it is released."""

    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        said: RunSaid,
        requests: Sequence[Request],
        *,
        history: RunHistory,
        is_owner: bool = True,
        kept: Collection[str] = (),
    ) -> None:
        """`said`: what does not change while the run goes on. `requests`: those that stand when it begins.

        `history`: what has happened so far. `kept`: ids of stages of other generations, whose dead letters stay open.
        """
        self._run_history = history
        self._end: Ending | None = None
        self._kept = kept
        self._is_owner = is_owner
        self._settings = settings
        self._plan = plan
        self._said = said
        self._observer = Observer()
        self._views: Mapping[str, StageView] = {}
        self._came: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._orders: dict[str, Request] = {}
        self._carried_out: set[str] = set()
        self._standing = self._first = tuple(requests)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="owning", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def watch(self, views: Mapping[str, StageView]) -> None:
        """Take in how the stages are."""
        self._views = views

    def new_requests(self) -> list[Request]:
        """The requests that came since the last call."""
        came: list[Request] = []
        while not self._came.empty():
            came.append(self._came.get())
        return came

    def order(self) -> Request | None:
        """What is asked about the generations of the graph, the first of it; it stands until `carried_out`."""
        orders = list(self._orders.values())
        return next((order for order in orders if order.id not in self._carried_out), None)

    def carried_out(self, order: Request) -> None:
        """It is, or never will be."""
        self._carried_out.add(order.id)

    def standing_requests(self) -> Sequence[Request]:
        """Those that are not carried out yet."""
        return self._standing

    def finish(self, end: Ending) -> None:
        """The run is over. Waits a moment until that is said."""
        self._end = end
        self._ended.set()
        self._thread.join(FINISH_S)

    def _run(self) -> None:
        while True:
            try:
                self._attend()
            except Refused as error:
                _log.debug("the graph has another owner by now: %s", error)
                return
            except NvisyError as error:
                _log.debug("what the run is doing cannot be published: %s", error)
                if self._ended.wait(OUTAGE_S):
                    return
            else:
                return

    def _attend(self) -> None:
        """Until the run is over, or the log fails."""
        log = self._settings.open_log()
        session: Session | None = None
        try:
            graph = self._plan.graph
            session = log.session(
                owners_seat(graph) if self._is_owner else hosts_seat(graph, self._said.host)
            )
            desk = _Desk(log, session, self._plan, self._run_history, is_owner=self._is_owner)
            desk.close_gone(self._kept)
            while True:
                is_last = self._ended.is_set()
                came = desk.take()
                desk.answer(set(self._carried_out))
                self._orders = {order.id: order for order in desk.orders()}
                self._standing = (
                    *self._first,
                    *desk.standing(),
                )  # before a stage that starts now asks for it
                for request in came:
                    self._came.put(request)
                stages = self._observer.see(self._views)
                self._run_history.saw(stages, lambda: _counted(self._views))
                if is_last and self._end is not None:
                    desk.note_end(self._end)
                error = self._end.error if self._end is not None and is_last else ""
                desk.publish(replace(self._said, stages=stages, ended=is_last, error=error))
                if is_last:
                    return
                self._ended.wait(EVERY_S)
        finally:
            if session is not None:
                session.close()
            log.close()


def _counted(views: Mapping[str, StageView]) -> StageCounters:
    """What all stages have counted by now."""
    total = StageCounters()
    for view in views.values():
        total.add(view.counters)
    return total


def _may_keep_history(log: Log, graph: str) -> bool:
    """Whether there is a topic for the history. A run does without it where it may not make one."""
    try:
        make_runs_topic(log, graph)
    except Refused as error:
        _log.warning("this run is not remembered: %s", error)
        return False
    return True


class _Desk:
    """The owner's part at the log, or that of a host that has joined it."""

    def __init__(
        self, log: Log, session: Session, plan: Plan, history: RunHistory, *, is_owner: bool
    ) -> None:
        self._run_history = history
        self._keeps_history = _may_keep_history(log, plan.graph)
        self._is_owner = is_owner
        self._log = log
        self._session = session
        self._plan = plan
        self._inbox = Inbox(log, plan.graph)
        self._answers: dict[str, Answers] = {}
        self._last: RunSaid | None = None
        self._published_at = 0.0

    def close_gone(self, kept: Collection[str]) -> None:
        """Close the dead letters whose way through the graph is no more."""
        if not self._is_owner:
            return
        graph, partitions = self._plan.graph, self._plan.partitions
        gone = list(dead_letters.gone(dead_letters.open_entries(self._log, graph), self._plan, kept))
        self._write([dead_letters.closing(graph, one.record_key, "gone", partitions) for one in gone])

    def take(self) -> Sequence[Request]:
        """New requests."""
        came = self._inbox.poll()
        for request in came if self._is_owner else ():
            if request.kind in ABOUT_GENERATIONS:
                continue
            self._answers[request.id] = Answers(self._log, self._plan.graph, request.letters)
        return came

    def standing(self) -> Sequence[Request]:
        """Requests that are not carried out yet. Those that are get their tombstone."""
        standing = self._inbox.standing
        for name in self._answers.keys() - standing.keys():  # withdrawn
            del self._answers[name]
        for answers in self._answers.values():
            answers.poll()
        done = [standing[name] for name, answers in self._answers.items() if answers.settled]
        self._write([answered(self._plan.graph, request) for request in done])
        for request in done:
            del standing[request.id], self._answers[request.id]
        return tuple(standing.values())

    def orders(self) -> Sequence[Request]:
        """What is asked about the generations of the graph, and stands."""
        standing = self._inbox.standing.values()
        return [one for one in standing if one.kind in ABOUT_GENERATIONS] if self._is_owner else []

    def answer(self, orders: Collection[str]) -> None:
        """These are carried out."""
        done = [order for order in self.orders() if order.id in orders]
        self._write([answered(self._plan.graph, order) for order in done])
        for order in done:
            del self._inbox.standing[order.id]

    def note_end(self, end: Ending) -> None:
        """How the run ended, with the dead letters that are open by now."""
        letters = Counter(letter.node for letter in dead_letters.open_entries(self._log, self._plan.graph))
        self._run_history.ended(end, dict(letters))

    def publish(self, said: RunSaid) -> None:
        """Say how the run is, if it is otherwise than before or that was said a while ago, and what happened in it."""
        now = time.monotonic()
        due = self._run_history.due if self._keeps_history else ()
        if said == self._last and not due and now - self._published_at < UNCHANGED_S:
            return
        self._last, self._published_at = said, now
        now_said = replace(said, at_ms=time.time_ns() // 1_000_000)
        self._session.append(due)
        self._session.commit({}, as_state(now_said, is_owner=self._is_owner))
        self._run_history.committed(due)

    def _write(self, records: Sequence[Append]) -> None:
        if records:
            self._session.append(records)
            self._session.commit({})
