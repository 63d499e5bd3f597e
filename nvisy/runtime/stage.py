"""One stage at work: opens what it needs, reads, runs the dataflow, writes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from nvisy.actions.first_owner import FirstOwner
from nvisy.catalog import Catalog
from nvisy.connector.source import ListingSource
from nvisy.errors import Transient
from nvisy.graph.hashing import graph_hash
from nvisy.graph.parse import parse as parse_graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Stage
from nvisy.primitives.change import Change
from nvisy.primitives.primitive import content_hash
from nvisy.runtime import dead_letters
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.building import Steps
from nvisy.runtime.codecs import Codecs
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.deduplicate import DeduplicatingOutlet, bring_up, place_of
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.flow import build_flow, terminals
from nvisy.runtime.foreign import EventsOutlet
from nvisy.runtime.known import KnownKeys
from nvisy.runtime.listing import Listing, ListingReader
from nvisy.runtime.messages import StageSpec, line
from nvisy.runtime.outlets import Outlet, Patience, TopicOutlet
from nvisy.runtime.reading import Reader, ReadingThread, TopicReader
from nvisy.runtime.retry import RetryPolicy
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import OpenSink, open_outlet, prepare
from nvisy.runtime.steps import Stamp
from nvisy.runtime.streaming import StreamingReader
from nvisy.runtime.writing import DeadLetterBook, WritingThread
from nvisy.topics.log import Log, Seat, Session, TopicPartition

REPORT_S = 0.25
CONFIG = "config"
"""What a stage remembers its last configuration as."""
PATIENCE = RetryPolicy(max_retries=8, initial_delay_s=0.5, max_delay_s=10.0)
FOLLOW_PATIENCE = RetryPolicy(max_retries=None, initial_delay_s=0.5, max_delay_s=10.0)

Send = Callable[[bytes], None]


class StageRunner:
    """Runs one stage to its end. Orders come in on another thread."""

    def __init__(self, spec: StageSpec, send: Send) -> None:
        self._spec = spec
        self._send = send
        self._go = threading.Event()
        self._stopping = threading.Event()
        self._ends: Mapping[TopicPartition, int] | None = None
        self._reading: ReadingThread | None = None
        self._topics: TopicReader | None = None
        self._clean: Callable[[str], str] = str
        self._waiting = b""
        self._waiting_until = 0.0

    def clean(self, text: str) -> str:
        """`text` without the graph's secrets."""
        return self._clean(text)

    def obey(self, message: dict[str, Any]) -> None:
        """Carry out an order of the supervisor."""
        match message["kind"]:
            case "go":
                self._go.set()
            case "drain":
                self._ends = {
                    TopicPartition(topic, partition): end for topic, partition, end in message["ends"]
                }
                if self._topics is not None:
                    self._topics.end_at(self._ends)
            case "stop":
                self.stop()

    def stop(self) -> None:
        """Read no further, finish what is in flight, end."""
        self._stopping.set()
        self._go.set()
        if self._reading is not None:
            self._reading.stop()

    def run(self) -> None:
        """Open, wait for the order to go, run, close."""
        spec = self._spec
        sys.path.insert(0, spec.folder)
        settings = Settings(Path(spec.state), spec.log_url)
        checked = check(
            parse_graph(spec.graph, file=spec.file, folder=Path(spec.folder)), Catalog.installed()
        )
        self._clean = checked.redactor.clean
        stage = compile_graph(checked).stage(spec.stage)
        with ExitStack() as stack:
            log = settings.open_log()
            stack.callback(log.close)
            work = _Work(spec, checked, stage, log, settings, stack)
            work.open(self._patience())
            self._send(line("ready", config=work.seat.config))
            self._go.wait()
            self._run(work, stack)

    def _run(self, work: _Work, stack: ExitStack) -> None:
        tracker = AckTracker()
        ways = terminals(work.stage)
        reader = work.reader()
        if isinstance(reader, TopicReader):
            self._topics = reader
            ends = self._ends if self._ends is not None else work.ends_now()
            if ends is not None:
                reader.end_at(ends)
        self._reading = ReadingThread(reader, tracker, lambda flight: ways[flight.ticket.at.topic])
        writing = WritingThread(
            work.session,
            work.outlets,
            tracker,
            work.book,
            inputs=frozenset(work.stage.inputs),
            state=lambda: work.state(tracker),
            committed=work.committed,
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

    def _patience(self) -> Patience:
        def waiting(error: Transient, delay_s: float) -> None:
            self._waiting = line("waiting", error=self.clean(str(error)), delay_s=delay_s)
            self._waiting_until = time.monotonic() + delay_s
            self._send(self._waiting)

        retry = FOLLOW_PATIENCE if self._spec.follow else PATIENCE
        return Patience(retry, waiting, self._stopping.is_set)

    def _report(self, work: _Work, tracker: AckTracker) -> Callable[[], None]:
        """Send the counters now and then; the function returned sends the last ones."""
        ended = threading.Event()

        def send() -> None:
            work.steps.count_models()
            self._send(line("counters", counters=work.counters.as_json(), in_flight=tracker.in_flight))
            if time.monotonic() < self._waiting_until:
                self._send(self._waiting)  # it still does, whatever else went on meanwhile

        def loop() -> None:
            while not ended.wait(REPORT_S):
                send()

        thread = threading.Thread(target=loop, name="reporting", daemon=True)
        thread.start()

        def stop() -> None:
            ended.set()
            thread.join()
            send()

        return stop


class _Work:
    """What a stage works with, opened in the order in which it can fail: stores, log, models."""

    def __init__(
        self,
        spec: StageSpec,
        checked: CheckedGraph,
        stage: Stage,
        log: Log,
        settings: Settings,
        stack: ExitStack,
    ) -> None:
        self.stage = stage
        self.counters = StageCounters()
        self._spec = spec
        self._checked = checked
        self._log = log
        self._settings = settings
        self._stack = stack
        self._hash = graph_hash(checked.graph)
        self._reader: Reader | None = None

    def open(self, patience: Patience) -> None:
        """Prove that everything can be reached, and take the stage's seat at the log."""
        graph, stage, state = self._checked.graph.id, self.stage, self._settings.state
        sinks = [prepare(self._checked, node, self._log.id, state) for node in stage.sinks]
        self.seat = Seat(graph, stage.id, _seat_config(stage, sinks), stage.inputs, stage.outputs)
        self.session: Session = _seated(self._log, self.seat)
        self._stack.callback(self.session.close)
        self._codecs = Codecs(self._checked, self._settings, run=self._spec.run)
        for inlet in stage.inlets:
            if inlet.kind == "topic":
                self._codecs.codec.prepare(inlet.name)
        self.steps = Steps(self._checked, stage, state, self.counters, patience)
        self._stack.callback(self.steps.close)
        self.outlets: Sequence[Outlet] = [self._outlet(outlet, sinks, patience) for outlet in stage.outlets]
        open_keys = dead_letters.open_keys(self._log, graph, stage.id)
        self.book = DeadLetterBook(graph, stage.id, self._checked.graph.log.partitions, open_keys)

    def _outlet(self, outlet: Any, sinks: Sequence[OpenSink], patience: Patience) -> Outlet:
        match outlet.kind:
            case "topic":
                self._codecs.codec.prepare(outlet.name)
                topic = TopicOutlet(outlet.name, self.session, self._codecs.codec, self._inc(outlet.name))
                return self._deduplicating(topic) if self.stage.alone else topic
            case "foreign":
                return self._events_outlet(outlet.node)
            case _:
                sink = next(one for one in sinks if one.node == outlet.node)
                return open_outlet(sink, self._checked.graph.id, self._spec.token, patience, self.counters)

    def reader(self) -> Reader:
        """Where the changes of this stage come from."""
        sources = [inlet for inlet in self.stage.inlets if inlet.kind == "source"]
        if not sources:
            decoders = {inlet.name: self._codecs.decoder(inlet) for inlet in self.stage.inlets}
            self._reader = TopicReader(self.session, decoders)
        else:
            self._reader = self._source_reader(sources[0].node)
        return self._reader

    def ends_now(self) -> Mapping[TopicPartition, int] | None:
        """For a stage that only reads topics of other programs, once: where they end now. Else None."""
        if self._spec.follow or self.stage.upstream or not self.stage.inputs:
            return None
        return {
            TopicPartition(topic, partition): end
            for topic in self.stage.inputs
            if (info := self._log.describe(topic)) is not None
            for partition, end in info.end.items()
        }

    def state(self, tracker: AckTracker) -> Mapping[str, bytes | None]:
        """What to commit beside the positions: how far a stream has been read."""
        if isinstance(self._reader, StreamingReader):
            through = tracker.positions().get(TopicPartition(self.stage.inlets[0].node, 0), 0)
            return self._reader.state(through)
        return {}

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """These stand in the log now, and the input has been read up to `positions`."""
        for outlet in self.outlets:
            if isinstance(outlet, DeduplicatingOutlet):
                outlet.committed(positions)
        if isinstance(self._reader, ListingReader):
            self._reader.committed(flights)
        elif isinstance(self._reader, StreamingReader):
            self._reader.committed()

    def finished(self) -> None:
        """The stage is through: note how far a listing's keys are known."""
        if isinstance(self._reader, ListingReader):
            self._reader.followed(self._origin_ends())

    def _origin_ends(self) -> Mapping[int, int]:
        info = self._log.describe(self.stage.outputs[0]) if self.stage.outputs else None
        return info.end if info else {}

    def _source_reader(self, node: str) -> Reader:
        checked = self._checked.nodes[node]
        assert checked.descriptor is not None
        context = replace(self._checked.context(node, self._settings.state), follow=self._spec.follow)
        source = checked.descriptor.open(checked.params, context)  # type: ignore[union-attr]
        source.check()
        topic = self.stage.outputs[0] if self.stage.outputs else ""
        inc = None if topic else self._next_life()
        if isinstance(source, ListingSource):
            return ListingReader(
                source, self._known(node, topic), self._listing(node, topic, inc), self.counters.node(node)
            )
        return StreamingReader(
            source,
            self.session.state(),
            node=node,
            run=self._spec.run,
            graph=self._hash,
            partitions=self._checked.graph.log.partitions,
            topic=topic,
            inc=inc,
            counters=self.counters.node(node),
        )

    def _listing(self, node: str, topic: str, inc: int | None) -> Listing:
        prefix = f"{node}/"

        def failed_keys() -> Sequence[str]:
            keys = (key.decode("utf-8", "replace").split("/", 2)[2] for key in frozenset(self.book.open))
            return [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]

        return Listing(
            node=node,
            run=self._spec.run,
            graph=self._hash,
            partitions=self._checked.graph.log.partitions,
            topic=topic,
            inc=inc,
            follow=self._spec.follow,
            allow_mass_delete=self._spec.allow_mass_delete,
            failed_keys=failed_keys,
        )

    def _known(self, node: str, topic: str) -> KnownKeys:
        """The copy of what the log holds of a source, brought up to the end of the log."""
        info = self._log.describe(topic) if topic else None
        identity = info.id if info else f"{self._log.id}/{self.seat.config}"
        folder = self._settings.state / "known"
        known = KnownKeys(folder / f"{self._checked.graph.id}.{node}.db", identity)
        self._stack.callback(known.close)
        if info:
            self._catch_up(known, topic, info.end)
        return known

    def _catch_up(self, known: KnownKeys, topic: str, ends: Mapping[int, int]) -> None:
        start = known.followed()
        if all(start.get(partition, 0) >= end for partition, end in ends.items()):
            return
        notes: dict[str, bytes | None] = {}
        for record in self._log.scan(topic, start):
            change = self._codecs.changes.decode(record)
            notes[change.origin.key] = None if change.op == "delete" else change.fingerprint
            if len(notes) >= 1000:
                known.note(notes)
                notes = {}
        known.note(notes, followed=ends)

    def _deduplicating(self, topic: TopicOutlet) -> Outlet:
        graph, node = self._checked.graph.id, self.stage.nodes[0]
        owners = FirstOwner(self._settings.state / "owners" / f"{graph}.{node}.{self.seat.config}.db")

        def records() -> Iterator[tuple[Ticket, Change]]:
            for inlet in self.stage.inlets:
                for record in self._log.scan(inlet.name):
                    yield place_of(record), self._codecs.decoder(inlet).decode(record)

        def read_back(ticket: Ticket) -> Change | None:
            inlet = next(one for one in self.stage.inlets if one.name == ticket.at.topic)
            record = self._log.read(*ticket.at, ticket.offset)
            return self._codecs.decoder(inlet).decode(record) if record is not None else None

        bring_up(owners, self.session.positions(), records)
        stamp = Stamp(node, self._checked.nodes[node].config_hash)
        return DeduplicatingOutlet(topic, owners, read_back, stamp, self.counters.node(node))

    def _events_outlet(self, node: str) -> EventsOutlet:
        info = self._log.describe(self._checked.nodes[node].params.topic)
        partitions = info.partitions if info else self._checked.graph.log.partitions
        return self._codecs.events_outlet(node, self.session, partitions, self.counters.node(node))

    def _inc(self, topic: str) -> int:
        """Incarnation of an output topic: higher than any before when it was made anew, or was not used for a while."""
        info = self._log.describe(topic)
        topic_id = info.id if info else ""
        known_id, _, known_inc = self.session.state().get(f"inc/{topic}", b"/0").decode().rpartition("/")
        life = int(self.session.state().get("life", b"0"))
        if known_id == topic_id and int(known_inc) > life:
            return int(known_inc)
        inc = max(int(known_inc), life) + 1
        self.session.commit({}, {f"inc/{topic}": f"{topic_id}/{inc}".encode()})
        return inc

    def _next_life(self) -> int:
        """Where no topic numbers the changes: the lives of this stage, counted on from what its topics had before."""
        state = self.session.state()
        incs = [value.rpartition(b"/")[2] for name, value in state.items() if name.startswith("inc/")]
        life = max(map(int, [state.get("life", b"0"), *incs])) + 1
        self.session.commit({}, {"life": str(life).encode()})
        return life


def _seated(log: Log, seat: Seat) -> Session:
    """The session of a seat; one whose configuration is not the last one starts over, also if it was once before."""
    session = log.session(seat)
    if session.state().get(CONFIG) == seat.config.encode():
        return session
    positions = session.positions()
    starts = dict.fromkeys(positions, 0)
    for topic in seat.inputs:
        if (info := log.describe(topic)) is not None:
            starts |= {TopicPartition(topic, partition): start for partition, start in info.start.items()}
    back = {at: starts[at] for at, position in positions.items() if position > starts[at]}
    session.commit(back, {CONFIG: seat.config.encode()})
    if not back:
        return session
    session.close()
    return log.session(seat)


def _seat_config(stage: Stage, sinks: Sequence[OpenSink]) -> str:
    """A collection that was made anew is one more reason to read the input from its beginning."""
    return content_hash(stage.config, *(sink.collection for sink in sinks))[:12] if sinks else stage.config
