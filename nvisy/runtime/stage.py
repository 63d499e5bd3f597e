"""One stage at work: opens what it needs, reads, runs the dataflow, writes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from nvisy.catalog import Catalog
from nvisy.errors import Transient
from nvisy.graph.parse import parse as parse_graph
from nvisy.graph.validate import check
from nvisy.plan.generations import Layout
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.flow import build_flow, terminals
from nvisy.runtime.generations import plan_under
from nvisy.runtime.messages import Send, StageSpec, line
from nvisy.runtime.outlets import Patience
from nvisy.runtime.reading import ReadingThread, TopicReader
from nvisy.runtime.requests import Named, from_lists
from nvisy.runtime.retry import RetryPolicy
from nvisy.runtime.settings import Settings
from nvisy.runtime.watchdog import Activity
from nvisy.runtime.work import Work
from nvisy.runtime.writing import WritingThread
from nvisy.topics.log import TopicPartition

REPORT_S = 0.25
PATIENCE = RetryPolicy(max_retries=8, initial_delay_s=0.5, max_delay_s=10.0)
FOLLOW_PATIENCE = RetryPolicy(max_retries=None, initial_delay_s=0.5, max_delay_s=10.0)


class StageRunner:
    """Runs one stage to its end. Orders come in on another thread.

    Attributes:
        read: Topic and partition of what it read to the end.
    """

    def __init__(self, spec: StageSpec, send: Send) -> None:
        self._spec = spec
        self._send = send
        self._go = threading.Event()
        self._stopping = threading.Event()
        self._asked: SimpleQueue[tuple[str, Sequence[Named], bool]] = SimpleQueue()
        self._passing_on = threading.Lock()
        self._started = False
        self._inc = 0
        self.read: list[list[Any]] = []
        self._ends: Mapping[TopicPartition, int] | None = None
        self._work: Work | None = None
        self._reading: ReadingThread | None = None
        self._topics: TopicReader | None = None
        self._clean: Callable[[str], str] = str
        self._waiting = b""
        self._waiting_until = 0.0
        self._activity = Activity()
        self._failure: Exception | None = None

    def clean(self, text: str) -> str:
        """`text` without the graph's secrets."""
        return self._clean(text)

    def obey(self, message: dict[str, Any]) -> None:
        """Carry out an order of the supervisor. One that cannot be ends the stage: `run` raises why."""
        try:
            self._carry_out(message)
        except Exception as error:
            self._failure = error
            self.stop()

    def _carry_out(self, message: dict[str, Any]) -> None:
        match message["kind"]:
            case "go":
                self._inc = message["inc"]
                self._go.set()
            case "sweep":
                if self._work is not None:
                    self._work.sweep(message["sources"], at_end=False)
            case "drain":
                if self._work is not None:
                    self._work.sweep(message["sweep"], at_end=True)
                self._ends = {
                    TopicPartition(topic, partition): end for topic, partition, end in message["ends"]
                }
                if self._topics is not None:
                    self._topics.end_at(self._ends)
            case "replay" | "drop" as kind:
                self._asked.put((kind, from_lists(message["letters"]), message["is_poison"]))
                self._pass_on()
            case "stop":
                self.stop()

    def stop(self) -> None:
        """Read no further, finish what is in flight, end."""
        self._stopping.set()
        self._go.set()
        if self._reading is not None:
            self._reading.stop()

    def _pass_on(self) -> None:
        """Hand on what was asked for, once the ends of the stage are open."""
        with self._passing_on:
            while self._work is not None and self._started and not self._asked.empty():
                kind, letters, is_poison = self._asked.get()
                if kind == "replay":
                    self._work.replay(letters, is_poison=is_poison)
                else:
                    self._work.drop(letters)

    def run(self) -> None:
        """Open, wait for the order to go, run, close."""
        self._live()
        if self._failure is not None:
            raise self._failure

    def _live(self) -> None:
        spec = self._spec
        sys.path.insert(0, spec.folder)
        settings = Settings(Path(spec.state), spec.log_url)
        checked = check(
            parse_graph(spec.graph, file=spec.file, folder=Path(spec.folder)), Catalog.installed()
        )
        self._clean = checked.redactor.clean
        with ExitStack() as stack:
            log = settings.open_log()
            stack.callback(log.close)
            plan = plan_under(checked, Layout.from_json(spec.layout))
            work = Work(spec, checked, plan, log, settings, stack, self._send)
            work.open(self._patience())
            self._work = work
            self._send(line("ready", config=work.seat.config, behind=work.behind))
            work.wait_for(self._go)
            work.start(self._inc)
            self._started = True
            self._pass_on()
            self._run(work, stack)

    def _run(self, work: Work, stack: ExitStack) -> None:
        tracker = AckTracker()
        ways = terminals(work.stage)
        reader = work.reader
        if isinstance(reader, TopicReader):
            self._topics = reader
            ends = self._ends if self._ends is not None else work.ends_now()
            if ends is not None:
                reader.end_at(ends)
        self._reading = ReadingThread(
            reader, tracker, lambda flight: ways[flight.ticket.at.topic], work.replaying, work.counters
        )
        writing = WritingThread(
            work.session,
            work.outlets,
            tracker,
            work.book,
            inputs=frozenset(work.stage.inputs),
            desk=work,
        )
        flow = build_flow(work.stage, work.steps.by_node, self._reading, writing, work.counters)
        stop_reporting = self._report(work, tracker)
        stack.callback(stop_reporting)
        writing.start()
        self._reading.start()
        if self._stopping.is_set():
            self._reading.stop()
        flow.run()
        writing.finish(settle=not self._stopping.is_set())
        work.finished()
        self.read = [list(at) for at in work.session.positions()]

    def _patience(self) -> Patience:
        def waiting(error: Transient, delay_s: float) -> None:
            self._waiting = line("waiting", error=self.clean(str(error)), delay_s=delay_s)
            self._waiting_until = time.monotonic() + delay_s
            self._send(self._waiting)

        retry = FOLLOW_PATIENCE if self._spec.follow else PATIENCE
        return Patience(retry, waiting, self._stopping.is_set, self._activity)

    def _report(self, work: Work, tracker: AckTracker) -> Callable[[], None]:
        """Send the counters now, before anything can hang, and now and then; what is returned sends the last ones."""
        ended = threading.Event()

        def send() -> None:
            work.steps.count_models()
            counters = work.counters.as_json()
            moving = self._activity.moves(idle=tracker.idle, seen=(counters, tracker.positions()))
            self._send(line("counters", counters=counters, in_flight=tracker.in_flight, moving=moving))
            if time.monotonic() < self._waiting_until:
                self._send(self._waiting)  # it still does, whatever else went on meanwhile

        def loop() -> None:
            while not ended.wait(REPORT_S):
                send()

        send()
        thread = threading.Thread(target=loop, name="reporting", daemon=True)
        thread.start()

        def stop() -> None:
            ended.set()
            thread.join()
            send()

        return stop
