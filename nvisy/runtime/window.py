"""Calls in flight: asks another system from threads of its own, and gives changes back in the order they came in.

The dataflow hands flights over and takes finished ones out; neither ever waits. What is inside is bounded by the
credit of the `AckTracker`, since nothing is read while that is used up.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from nvisy.connector.action import AskingAction, Question
from nvisy.errors import Fatal, Rejected, Transient
from nvisy.fault_points import Point, reach
from nvisy.runtime.flight import Flight
from nvisy.runtime.outage import Breaker
from nvisy.runtime.steps import Assembly

LINGER_S = 0.010
"""How long a call that is not full waits for more questions."""
MAX_TAKEN_ITEMS = 256
GATHER_FLIGHTS = 100
SPARE = 4
"""One thread more for so many: it makes the next call while another keeps the answers of the last."""
SWITCH_S = 0.0005
STOP_GRACE_S = 5.0
_JOIN_S = 1.0


@dataclass(slots=True, eq=False)
class _Entry:
    """A flight, what its items ask, and the answers that are there."""

    flight: Flight
    questions: Sequence[Question] = ()
    answers: list[Any] = field(default_factory=list)
    missing: int = 0


class Window:
    """The step of a node that asks another system; in the dataflow an output and an input.

    Questions of different changes share a call; equal ones are asked once. A call that is rejected is halved down to
    the question at fault. After an order to stop, what is still unanswered five seconds later is abandoned: it was not
    acknowledged, and the next run reads it again.
    """

    def __init__(
        self,
        node: str,
        action: AskingAction,
        assembly: Assembly,
        breaker: Breaker,
        *,
        calls: int,
        stopped: Callable[[], bool],
    ) -> None:
        """A window of `calls` calls. `stopped`: whether the run is to stop."""
        self._node = node
        self._action = action
        self._assembly = assembly
        self._breaker = breaker
        self._stopped = stopped
        self._stopped_at: float | None = None
        self._arrived: SimpleQueue[list[Flight] | None] = SimpleQueue()
        self._order: deque[_Entry] = deque()
        self._asked: dict[str, list[tuple[_Entry, int]]] = {}
        self._todo: deque[tuple[Question, float]] = deque()
        self._halves: deque[Sequence[Question]] = deque()
        self._tries: dict[str, int] = {}
        self._changed = threading.Condition()
        self._closed = False
        self.abandoned = False
        self._error: BaseException | None = None
        self._calls = threading.Semaphore(calls)
        works = [self._gather, *[self._work] * (calls + max(1, calls // SPARE))]
        self._threads = [threading.Thread(target=self._guard, args=(work,), daemon=True) for work in works]

    def put(self, flights: list[Flight]) -> None:
        """Take these; returns at once."""
        if not self._threads[0].ident:
            # A thread whose answer has come must not wait for those that compute: the default is ten times as long.
            sys.setswitchinterval(SWITCH_S)
            for thread in self._threads:
                thread.start()
        self._arrived.put(flights)

    def take(self) -> list[Flight]:
        """Flights that are finished, those before them included; none when there are none. Raises what went wrong."""
        if self._error is not None:
            raise self._error
        if self._stopped():
            self._abandon_late()
        entries: list[_Entry] = []
        with self._changed:
            n_items = 0
            while self._order and not self._order[0].missing and n_items < MAX_TAKEN_ITEMS:
                entries.append(self._order.popleft())
                n_items += len(entries[-1].questions)
        return [self._finish(entry) for entry in entries]

    def close(self) -> None:
        """End the threads, and the action under those that still wait for an answer. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._arrived.put(None)
        self._action.close()
        until = time.monotonic() + _JOIN_S
        for thread in self._threads:
            if thread.ident:
                thread.join(max(0.0, until - time.monotonic()))

    def _finish(self, entry: _Entry) -> Flight:
        if entry.flight.failure:
            return entry.flight
        items = entry.flight.change.items
        answered = zip(items, entry.questions, entry.answers, strict=True)
        return self._assembly.finish(entry.flight, [self._action.answered(*one) for one in answered])

    def _abandon_late(self) -> None:
        now = time.monotonic()
        self._stopped_at = self._stopped_at or now
        if now - self._stopped_at > STOP_GRACE_S:
            self._abandon()

    def _abandon(self) -> None:
        with self._changed:
            self.abandoned = self._closed = True
            self._changed.notify_all()

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a thread; what it dies of is raised in the dataflow, which ends the stage."""
        try:
            work()
        except Transient as error:
            if self._stopped():
                self._abandon()
            else:
                self._error = self._error or error
        except BaseException as error:
            self._error = self._error or error

    def _gather(self) -> None:
        while (flights := self._arrived.get()) is not None:
            for start in range(0, len(flights), GATHER_FLIGHTS):
                self._enter([self._entry(flight) for flight in flights[start : start + GATHER_FLIGHTS]])

    def _entry(self, flight: Flight) -> _Entry:
        if flight.failure or not flight.change.items:
            return _Entry(flight)
        questions = self._action.questions(flight.change.items)
        return _Entry(flight, questions, [None] * len(questions), len(questions))

    def _enter(self, entries: Sequence[_Entry]) -> None:
        fresh: dict[str, Question] = {}
        with self._changed:
            for entry in entries:
                for place, question in enumerate(entry.questions):
                    if question.key not in self._asked:
                        fresh[question.key] = question
                    self._asked.setdefault(question.key, []).append((entry, place))
            self._order.extend(entries)
        known = self._action.known(list(fresh)) if fresh else {}
        now = time.monotonic()
        with self._changed:
            for key, answer in known.items():
                self._settle(key, answer)
            self._todo.extend((question, now) for key, question in fresh.items() if key not in known)
            self._changed.notify()

    def _settle(self, key: str, answer: Any) -> None:
        for entry, place in self._asked.pop(key):
            entry.answers[place] = answer
            entry.missing -= 1

    def _work(self) -> None:
        while True:
            with self._calls:
                batch = self._next_call()
                if not batch:
                    return
                answers = self._answers(batch)
            if answers is not None:
                reach(Point.MODEL_ANSWERED)
                self._action.keep(batch, answers)
                reach(Point.MODEL_KEPT)
                self._answered(batch, answers)

    def _answers(self, batch: Sequence[Question]) -> Sequence[Any] | None:
        """What comes back, or nothing where the call was rejected and is asked again in halves."""
        reach(Point.MODEL_CALL)
        try:
            answers = self._breaker.call(lambda: self._action.ask(batch))
        except Rejected as rejected:
            self._refused(batch, rejected)
            return None
        if len(answers) != len(batch):
            raise Fatal(f"node {self._node}: {len(answers)} answers came back for {len(batch)} questions")
        return answers

    def _answered(self, batch: Sequence[Question], answers: Sequence[Any]) -> None:
        with self._changed:
            for question, answer in zip(batch, answers, strict=True):
                self._tries.pop(question.key, None)
                self._settle(question.key, answer)

    def _refused(self, batch: Sequence[Question], rejected: Rejected) -> None:
        if len(batch) == 1:
            rejected.attempts += self._tries.get(batch[0].key, 0)
            self._answered(batch, [rejected])
            return
        middle = len(batch) // 2
        with self._changed:
            for question in batch:
                self._tries[question.key] = self._tries.get(question.key, 0) + rejected.attempts
            self._halves.extend((batch[:middle], batch[middle:]))
            self._changed.notify(2)

    def _next_call(self) -> Sequence[Question]:
        """What to ask next; nothing when it was closed. A call that is not full waits a moment for more."""
        with self._changed:
            while not self._closed:
                if self._halves:
                    return self._halves.popleft()
                linger_s: float | None = None
                if self._todo:
                    linger_s = self._todo[0][1] + LINGER_S - time.monotonic()
                    if len(self._todo) >= self._action.max_batch or linger_s <= 0:
                        return self._batch()
                self._changed.wait(linger_s)
            return ()

    def _batch(self) -> Sequence[Question]:
        size = min(len(self._todo), self._action.max_batch)
        batch = [self._todo.popleft()[0] for _ in range(size)]
        if self._todo:
            self._changed.notify()
        return batch
