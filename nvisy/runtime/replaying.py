"""Dead letters that a stage tries again: reads what failed once more, and hands it to the reading thread.

A thread of its own with a log of its own does the reading, for that may take a while. What it finds enters at the head
of the stage with the version it had, under a ticket of its own kind, so that no position depends on it. Whether it may
still be written is decided where it leaves the stage (`DeadLetterBook.due`).
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from nvisy.errors import Rejected
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.dead_letters import DeadLetter, parsed, topic_of
from nvisy.runtime.flight import Failure, Flight, Replay, Ticket, replayed_at
from nvisy.runtime.reading import Decoder
from nvisy.runtime.requests import Named
from nvisy.topics.log import Log, LogRecord, TopicPartition

MAX_AHEAD = 100
_PAUSE_S = 0.1

IsOpen = Callable[[bytes, str], bool]
"""Whether this entry of that record key is open."""
IsOurs = Callable[[TopicPartition], bool]
"""Whether this copy of the stage reads the partition."""


class Replaying:
    """Used by the thread that takes orders (`ask`), and by the reading thread (`take`, `idle`)."""

    def __init__(
        self,
        open_log: Callable[[], Log],
        graph: str,
        decoders: Mapping[str, Decoder],
        foreign: Collection[str],
        is_open: IsOpen,
        is_ours: IsOurs,
    ) -> None:
        """Replay for a stage that reads the topics of `decoders`; `foreign` are those that other programs fill."""
        self._open_log = open_log
        self._graph = graph
        self._decoders = decoders
        self._foreign = foreign
        self._is_open = is_open
        self._is_ours = is_ours
        self._asked: queue.SimpleQueue[tuple[Sequence[Named], Failure | None] | None] = queue.SimpleQueue()
        self._ready: queue.Queue[Flight] = queue.Queue(MAX_AHEAD)
        self._taken: set[tuple[bytes, str]] = set()
        self._number = 0
        self._lock = threading.Lock()
        self._n_asked = 0
        self._closed = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="replaying", daemon=True)

    def ask(self, letters: Iterable[Named], verdict: Failure | None = None) -> None:
        """Try these again, those of them that are open; with a verdict they fail at once. To ask twice does nothing."""
        with self._lock:
            self._n_asked += 1
        if not self._thread.ident:
            self._thread.start()
        self._asked.put((tuple(letters), verdict))

    def take(self) -> list[Flight]:
        """What is ready. Raises what reading it died of."""
        if self._error is not None:
            raise self._error
        flights: list[Flight] = []
        while not self._ready.empty():
            flights.append(self._ready.get())
        return flights

    @property
    def idle(self) -> bool:
        """Everything that was asked for has been taken."""
        return not self._n_asked and self._ready.empty() and self._error is None

    def close(self) -> None:
        """End the thread. May be called twice."""
        self._closed.set()
        self._asked.put(None)
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        try:
            log = self._open_log()
            try:
                while (asked := self._asked.get()) is not None and not self._closed.is_set():
                    for flight in self._flights(log, *asked):
                        self._hand_over(flight)
                    with self._lock:
                        self._n_asked -= 1
            finally:
                log.close()
        except BaseException as error:
            self._error = error

    def _hand_over(self, flight: Flight) -> None:
        while not self._closed.is_set():
            try:
                self._ready.put(flight, timeout=_PAUSE_S)
                break
            except queue.Full:
                continue

    def _flights(self, log: Log, letters: Sequence[Named], verdict: Failure | None) -> Iterator[Flight]:
        wanted = {one.key: one.entry for one in letters if self._is_wanted(one)}
        if not wanted:
            return
        for record in log.scan(topic_of(self._graph)):
            key = record.key or b""
            if record.value is None or key not in wanted:
                continue
            letter = parsed(record)
            if letter.entry == wanted[key] and (inlet := self._inlet(letter)) is not None:
                self._taken.add((key, letter.entry))
                yield self._flight(log, inlet, letter, verdict)

    def _record(self, log: Log, inlet: str, letter: DeadLetter) -> LogRecord | None:
        """What failed, as it stood in its topic."""
        was_kept = letter.size == len(letter.original)
        if was_kept and inlet not in self._foreign:
            return _kept(inlet, letter)
        # A record of others has headers, and a key of its own, that a dead letter does not keep.
        return _in_topic(log, inlet, letter) or (_kept(inlet, letter) if was_kept else None)

    def _is_wanted(self, letter: Named) -> bool:
        return (letter.key, letter.entry) not in self._taken and self._is_open(letter.key, letter.entry)

    def _inlet(self, letter: DeadLetter) -> str | None:
        """The input through which it comes in again; nothing where another copy of the stage has to see to it."""
        topics = tuple(self._decoders)
        inlet = letter.place.at.topic if letter.place.at.topic in topics else topics[0]
        return inlet if self._is_ours(TopicPartition(inlet, letter.place.at.partition)) else None

    def _flight(self, log: Log, inlet: str, letter: DeadLetter, verdict: Failure | None) -> Flight:
        place = Ticket(TopicPartition(inlet, letter.place.at.partition), letter.place.offset)
        replay = Replay(letter.record_key, letter.entry, place, letter.size, letter.sha256)
        ticket = replayed_at(inlet, self._number)
        self._number += 1
        if verdict is not None:
            return Flight(_stand_in(letter), ticket, letter.original, verdict, replay)
        record = self._record(log, inlet, letter)
        if record is None:
            lost = f"its {letter.size:,} bytes were too large to keep, and are no longer in {_place(letter)}"
            failure = Failure(inlet, "input_gone", lost)
            return Flight(_stand_in(letter), ticket, b"", failure, replay)
        raw, decoder = record.value or b"", self._decoders[inlet]
        try:
            change = decoder.decode(record, Version.of(letter.version) if letter.version else None)
        except Rejected as error:
            return Flight(decoder.unknown(record), ticket, raw, Failure.of(record.topic, error), replay)
        if (change.origin.source, change.origin.key) != (letter.source, letter.key):
            unknown = (
                f"it is {change.origin.key!r}, which nobody knew when it failed, nor whether a newer version of that"
                " has passed since: send it again at the source"
            )
            return Flight(_stand_in(letter), ticket, raw, Failure(inlet, "key_unknown", unknown), replay)
        return Flight(change, ticket, raw, None, replay)


def _in_topic(log: Log, inlet: str, letter: DeadLetter) -> LogRecord | None:
    """The record that failed, if it is still where it was read."""
    at, offset = letter.place
    found = log.read(at.topic, at.partition, offset) if log.describe(at.topic) is not None else None
    if found is None or hashlib.sha256(found.value or b"").hexdigest() != letter.sha256:
        return None
    return found._replace(topic=inlet)


def _kept(inlet: str, letter: DeadLetter) -> LogRecord:
    """The record that failed, made up from its dead letter."""
    key = f"{letter.source}/{letter.key}".encode()
    at, offset = letter.place
    return LogRecord(inlet, at.partition, offset, key, letter.original or None, (), letter.failed_at_ms)


def _stand_in(letter: DeadLetter) -> Change:
    """Stands for a change that cannot be read, under the name of its dead letter."""
    version = Version.of(letter.version)
    origin = Provenance(
        letter.source, letter.key, letter.uri, version, letter.place.at.partition, topic=letter.place.at.topic
    )
    return Change(origin)


def _place(letter: DeadLetter) -> str:
    at, offset = letter.place
    return f"topic {at.topic}, partition {at.partition}, offset {offset}"
