"""What a stage works with, opened in the order in which it can fail: stores, log, models, source."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from queue import Empty, SimpleQueue

from nvisy.errors import Refused
from nvisy.graph.validate import CheckedGraph
from nvisy.plan import model as plan
from nvisy.runtime.building import Steps
from nvisy.runtime.codecs import Codecs, OfSources
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.forgotten import forgotten_keys
from nvisy.runtime.in_turn import InTurn
from nvisy.runtime.incarnations import Incarnations, settle
from nvisy.runtime.key_by_key import KeyByKey
from nvisy.runtime.listing import ListingReader
from nvisy.runtime.memory import Memory
from nvisy.runtime.messages import Send, StageSpec, line
from nvisy.runtime.one_by_one import OneByOne
from nvisy.runtime.outlet_opening import OutletOpening
from nvisy.runtime.outlets import Outlet, Patience
from nvisy.runtime.poison import Cases, Life, verdict
from nvisy.runtime.reading import Decoder, Polled, Reader, TopicReader
from nvisy.runtime.replaying import Replaying
from nvisy.runtime.requests import Named
from nvisy.runtime.rerunning import Again, RerunReader, flights_again
from nvisy.runtime.seating import Seating, seat_config
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import OpenSink, take_over
from nvisy.runtime.sources import SourceOpening
from nvisy.runtime.sweeping import Sweeping
from nvisy.topics.log import Log, Seat, Session, TopicPartition

IDLE_COMMIT_S = 1.0

_logger = logging.getLogger(__name__)


class Work:
    """The parts of one stage, and the desk that its writing thread reports to.

    `open` proves that everything can be reached, and takes the stage's seat; `start` follows when all stages are ready.
    """

    def __init__(
        self,
        spec: StageSpec,
        checked: CheckedGraph,
        compiled: plan.Plan,
        log: Log,
        settings: Settings,
        stack: ExitStack,
        send: Send,
    ) -> None:
        self.stage = compiled.stage(spec.stage)
        self.counters = StageCounters()
        self._plan = compiled
        self._spec = spec
        self._checked = checked
        self._log = log
        self._settings = settings
        self._stack = stack
        self._send = send
        self._told = False
        self._sweeps: SimpleQueue[Mapping[str, int]] = SimpleQueue()
        self._drops: SimpleQueue[Sequence[Named]] = SimpleQueue()
        self._last_sweep: Mapping[str, int] = {}
        self._life = Life(spec.life, spec.died_of)
        self._gate: OneByOne | None = None
        self._has_moved = False
        self._committed_at = time.monotonic()

    def open(self, patience: Patience) -> None:
        """Prove that everything can be reached, and take the stage's seat at the log."""
        stage, state, spec = self.stage, self._settings.state, self._spec
        self._patience = patience
        self._sinks = [self._take_over(node) for node in stage.sinks]
        self.seat = Seat(
            self._checked.graph.id,
            stage.id,
            seat_config(stage, [sink.collection for sink in self._sinks], spec.absences),
            stage.inputs,
            stage.outputs,
            spec.slot,
            spec.slots,
            spec.shared,
        )
        if spec.config not in ("", self.seat.config):
            raise Refused(
                f"stage {stage.id} is another one here than on the host that owns the graph: hosts that share a graph"
                " need the same functions, and stores that all of them reach"
            )
        starts = {
            TopicPartition(inlet.name, partition): offset
            for inlet in stage.inlets
            for partition, offset in inlet.starts
        }
        self._seating = Seating(self._log, self.seat, self._sinks, adopt=spec.adopt, starts=starts)
        self._stack.callback(self._seating.close)
        self._again = Again.from_json(spec.again) if spec.again is not None else None
        if self._again is not None and self._again.is_everything:
            self._seating.start_over()
        is_first = any(inlet.kind != "topic" for inlet in stage.inlets)
        forgotten = forgotten_keys(self._log, self.seat.graph, self._checked.nodes) if is_first else {}
        self._codecs = Codecs(self._checked, self._settings, run=spec.run, forgotten=forgotten)
        for name in (*(inlet.name for inlet in stage.inlets if inlet.kind == "topic"), *stage.outputs):
            self._codecs.codec.prepare(name)
        self.steps = Steps(self._checked, stage, state, self.counters, patience)
        self._stack.callback(self.steps.close)
        partitions = self._checked.graph.log.partitions
        self.book = DeadLetterBook.read(self._log, self.seat.graph, stage.id, partitions)

    @property
    def session(self) -> Session:
        """The stage's session at the log."""
        return self._seating.session

    @property
    def memory(self) -> Memory:
        """What the stage remembers."""
        return self._seating.memory

    def wait_for(self, go: threading.Event) -> None:
        """Keep the seat until every stage is ready."""
        self._seating.keep(go)

    @property
    def behind(self) -> int:
        """The incarnation that changes need to pass what collections hold that the log knows nothing of; else 0."""
        found = [
            sink.stamping.found.inc + 1
            for sink in self._sinks
            if self._spec.adopt or self._spec.renumbered or sink.stamping.log_is_older(self.memory)
        ]
        if self._speaks_for_idle:
            idle = [sink.stamping.idle_are_ahead(self.memory, self._running) for sink in self._sinks]
            found += [inc + 1 for inc in idle if inc]
        return max(found, default=0)

    def start(self, at_least: int) -> None:
        """Open the ends of the stage. Changes that are numbered here get this incarnation at least."""
        settled = settle(self.stage, self.seat, self._log, self._seating, at_least)
        self._numberings, self._lookout = settled.numberings, settled.lookout
        for sink in self._sinks:
            sink.stamping.open(self.memory)
            if self._speaks_for_idle:
                sink.stamping.level(self.memory, self._running)
        self.outlets = self._open_outlets(settled.own)
        self._look_into_deaths()
        self.reader: Reader = self._open_reader(settled)
        self.replaying = self._open_replaying()
        self._sweeping = Sweeping(
            plan=self._plan,
            stage=self.stage,
            nodes=[node.id for node in self._checked.graph.nodes],
            log=self._log,
            session=self.session,
            memory=self.memory,
            numberings=self._numberings,
            outlets=self.outlets,
            book=self.book,
            send=self._send,
        )
        self._sweeping.begin()

    def ends_now(self) -> Mapping[TopicPartition, int] | None:
        """For a stage that only reads topics of other programs, once: where they end now. Else None."""
        if self._spec.follow or self.stage.upstream or not self.stage.inputs:
            return None
        return self._ends(self.stage.inputs)

    def sweep(self, sources: Mapping[str, int], *, at_end: bool) -> None:
        """An order: remove what the full passes of these epochs did not confirm, now or when all is written."""
        if at_end:
            self._last_sweep = sources
        else:
            self._sweeps.put(sources)

    def replay(self, letters: Sequence[Named], *, is_poison: bool = False) -> None:
        """An order: try these dead letters again, those that are open, unless that has ended processes before."""
        if self.replaying is not None:
            self.replaying.ask(letters, verdict(self.stage.id, self._life) if is_poison else None)
        elif isinstance(self.reader, ListingReader):
            if self._suspects is not None and not is_poison:
                self._suspects.forgive()
            self.reader.list_again()  # a pass sends whatever failed before once more

    def drop(self, letters: Sequence[Named]) -> None:
        """An order: close these dead letters, those of them that are open."""
        self._drops.put(letters)

    # --- the desk of the writing thread ---

    def state(self, positions: Mapping[TopicPartition, int]) -> Mapping[str, bytes | None]:
        """What to commit beside the positions: how far a stream has been read, what collections are stamped with."""
        values = {**self.reader.state(positions), **self._lookout.state()}
        if self._gate is not None:
            values |= self._gate.state(positions)
        for outlet in self.outlets:
            values |= outlet.state()
        return values

    def committed(self, flights: Sequence[Flight], positions: Mapping[TopicPartition, int]) -> None:
        """These stand in the log now, and the input has been read up to `positions`."""
        self._committed_at = time.monotonic()
        for outlet in self.outlets:
            outlet.committed(positions)
        self.reader.committed(flights, positions)
        self._lookout.committed(positions)
        if self._gate is not None:
            self._gate.committed()
        if flights:
            self.counters.last_ack_at_us = time.time_ns() // 1000
            self._say_moved()

    def between_commits(self) -> None:
        """Say when a full pass is through, carry out orders, and keep the position of a quiet stream moving."""
        if self.reader.complete and not self._told:
            self._told = True
            if self.stage.source:
                self.counters.last_ack_at_us = time.time_ns() // 1000
            self._sweeping.own_sources()
            for numbering in self._numberings.values():
                self.memory.is_numbered(numbering.read_again())
        self._lookout.look()
        while not self._drops.empty():
            self._drop(self._drops.get())
        while True:
            try:
                self._sweeping.sweep(self._sweeps.get_nowait())
            except Empty:
                break
        if self._gate is not None and self._gate.waits:
            self.session.commit({}, self._gate.state({}))
            self._gate.committed()
        is_due = self._suspects is not None and self._suspects.is_due
        if is_due or time.monotonic() - self._committed_at > IDLE_COMMIT_S:
            self._commit_quietly()

    def at_end(self) -> None:
        """Everything is written: what is left to be swept can be, and a stream that said nothing got somewhere too."""
        self.between_commits()
        self._commit_quietly()
        self._sweeping.sweep(self._last_sweep)

    def finished(self) -> None:
        """The stage is through: it did not die, and how far a listing's keys are known is noted."""
        if values := {**self._cases.closed(), **(self._suspects.closed() if self._suspects else {})}:
            self.memory.remember(values)
        if isinstance(self.reader, ListingReader):
            info = self._log.describe(self.stage.outputs[0]) if self.stage.outputs else None
            self.reader.followed(info.end if info else {})

    def _drop(self, letters: Sequence[Named]) -> None:
        open_now = [letter.key for letter in letters if self.book.is_open(letter.key, letter.entry)]
        self.session.append([self.book.close(key, "dropped") for key in open_now])
        self.session.commit({})

    def _commit_quietly(self) -> None:
        """The position of a stream, where nothing was written that it could have been committed with."""
        self._committed_at = time.monotonic()
        if values := self.reader.state({}):
            self.session.commit({}, values)
            self.reader.committed((), {})

    # --- opening ---

    @property
    def _running(self) -> range:
        """The copies of the stage that this host runs."""
        return range(self._spec.slot, self._spec.slot + self._spec.slots)

    @property
    def _speaks_for_idle(self) -> bool:
        """Whether all other copies are idle, and this is the one that looks after them: other hosts begin later."""
        return self._spec.leads and (self._spec.life == 1 or not self._spec.shared)

    def _take_over(self, node: str) -> OpenSink:
        spec, state = self._spec, self._settings.state
        sink = take_over(
            self._checked,
            node,
            self._log.id,
            state,
            token=spec.token,
            slot=spec.slot,
            adopt=spec.adopt,
            generation=self.stage.generation(node),
        )
        self._stack.callback(sink.writer.close)
        return sink

    def _look_into_deaths(self) -> None:
        """What ended the process before this one, if that has come out, goes to the dead letters without being read."""
        positions = self.session.positions() if self.stage.inputs else {}
        self._cases = Cases(self.memory, self.seat.config, positions, self._life)
        self._suspects = KeyByKey(self.memory, self.stage.source, self._life) if self.stage.source else None
        if self._cases.guilty:
            self._quarantine(self._cases.guilty)

    def _quarantine(self, guilty: Mapping[TopicPartition, int]) -> None:
        """Put the records at these places into the dead letters, and go on behind them."""
        decoders = {inlet.name: self._decoder(inlet) for inlet in self.stage.inlets}
        for at, offset in guilty.items():
            record = self._log.read(*at, offset)
            if record is None:
                continue
            failure = verdict(self.stage.id, self._life)
            _logger.error("record %d of %s, partition %d: %s", offset, *at, failure.message)
            unknown = decoders[at.topic].unknown(record)
            flight = Flight(unknown, Ticket(at, offset), record.value or b"", failure)
            for outlet in self.outlets:
                self.session.append(self.book.entries(outlet.name, [flight]))
        self.session.commit({at: offset + 1 for at, offset in guilty.items()}, self._cases.solved())
        self._say_moved()

    def _say_moved(self) -> None:
        """Tell the supervisor, once, that this life brings something forward."""
        if not self._has_moved:
            self._has_moved = True
            self._send(line("moved"))

    def _open_reader(self, settled: Incarnations) -> Reader:
        if source := self.stage.source:
            opening = SourceOpening(
                checked=self._checked,
                spec=self._spec,
                log=self._log,
                settings=self._settings,
                changes=self._codecs.changes,
                memory=self.memory,
                failed_keys=self.book.failed_keys,
                stack=self._stack,
                suspects=self._suspects,
                activity=self._patience.activity,
                forgotten=self._codecs.forgotten,
            )
            topic = self.stage.outputs[0] if self.stage.outputs else ""
            origin = topic or f"{self._log.id}/{self.seat.config}"
            return opening.open(source, topic, origin, settled.own, self.counters.node(source))
        decoders = {inlet.name: self._decoder(inlet) for inlet in self.stage.inlets}
        polled: Polled = self.session
        if settled.ordered:
            polled = InTurn(self.session, settled.numberings, settled.ordered)
        suspected = self._cases.suspected(lambda: self._ends(self.stage.inputs))
        if suspected or self._cases.guilty:
            polled = self._gate = OneByOne(polled, self._cases, suspected, skipped=self._cases.guilty)
        until = self._ends([*settled.numberings]) if settled.numberings else None
        if self._again is None or self._again.is_everything:
            return TopicReader(polled, decoders, until)
        log = self._settings.open_log()  # of the thread that reads
        self._stack.callback(log.close)
        again = flights_again(self._again, log, self.session.positions(), decoders)
        return RerunReader(polled, decoders, until, again)

    def _open_replaying(self) -> Replaying | None:
        """What tries dead letters again; nothing where the stage runs a source, and that has to be read again."""
        if self.stage.source:
            return None
        replaying = Replaying(
            self._settings.open_log,
            self.seat.graph,
            {inlet.name: self._decoder(inlet) for inlet in self.stage.inlets},
            {inlet.name for inlet in self.stage.inlets if inlet.kind == "foreign"},
            self.book.is_open,
            lambda at: at in self.session.positions(),
        )
        self._stack.callback(replaying.close)
        return replaying

    def _open_outlets(self, inc: int) -> Sequence[Outlet]:
        opening = OutletOpening(
            checked=self._checked,
            stage=self.stage,
            config=self.seat.config,
            state=self._settings.state,
            log=self._log,
            session=self.session,
            codecs=self._codecs,
            sinks=self._sinks,
            patience=self._patience,
            counters=self.counters,
            decoder=self._decoder,
        )
        return [opening.open(outlet, inc) for outlet in self.stage.outlets]

    def _decoder(self, inlet: plan.Inlet) -> Decoder:
        decoder = self._codecs.decoder(inlet, self._numberings.get(inlet.name))
        return OfSources(decoder, self._plan.sources_of(self.stage)) if inlet.kind == "topic" else decoder

    def _ends(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        return {
            TopicPartition(topic, partition): end
            for topic in topics
            if (info := self._log.describe(topic)) is not None
            for partition, end in info.end.items()
        }
