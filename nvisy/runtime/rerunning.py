"""What of a stage's input comes in again, when somebody asks for it: `nvisy rerun`.

All of it: the stage reads its topics from the beginning. A document, or what was written since a time: the last version
of each key that is meant enters at the head of the stage with the version it has, before anything that the stage has
not read yet. So of a key nothing older follows anything newer, and positions stay where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Self

from nvisy.errors import Rejected
from nvisy.primitives.change import Change
from nvisy.runtime.flight import Failure, Flight, Replay, Ticket, replayed_at
from nvisy.runtime.reading import Decoder, Polled, TopicReader
from nvisy.topics.log import Log, LogRecord, TopicPartition

BATCH = 500
MOMENT = 5_000
"""So many records are looked at before the log hears that the stage is alive."""


@dataclass(frozen=True, slots=True)
class Again:
    """What is meant. Without a key or a time, everything.

    Attributes:
        stage: Id in the graph of the stage that it comes in at.
        key: Of a document, and `source` its source node, where one is named.
        since_ms: What was written into the topics of the stage from then on, UTC.
    """

    stage: str
    key: str = ""
    source: str = ""
    since_ms: int = 0

    @property
    def is_everything(self) -> bool:
        """The whole input is read again."""
        return not (self.key or self.since_ms)

    def as_json(self) -> dict[str, Any]:
        """As it is told to a stage."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `as_json` wrote."""
        return cls(**value)


class RerunReader(TopicReader):
    """Reads what comes again, and then goes on where the stage is."""

    def __init__(
        self,
        session: Polled,
        decoders: Mapping[str, Decoder],
        until: Mapping[TopicPartition, int] | None,
        again: Iterator[Flight | None],
    ) -> None:
        """`again`: see `flights_again`."""
        super().__init__(session, decoders, until)
        self._polled = session
        self._again: Iterator[Flight | None] | None = again

    def read(self, *, paused: bool) -> Sequence[Flight]:
        """The next batch of what comes again, or of what comes next."""
        if self._again is None or paused:
            return super().read(paused=paused)
        self._polled.poll(1, 0.0, paused=True)
        flights: list[Flight] = []
        for flight in islice(self._again, BATCH):
            if flight is None:
                return flights
            flights.append(flight)
        if len(flights) < BATCH:
            self._again = None
        return flights

    @property
    def ended(self) -> bool:
        """Nothing comes again any more, and nothing else will come."""
        return self._again is None and super().ended


def flights_again(
    again: Again, log: Log, positions: Mapping[TopicPartition, int], decoders: Mapping[str, Decoder]
) -> Iterator[Flight | None]:
    """The last version of each key that is meant, of those below the positions of a stage. None: a moment has passed.

    Args:
        again: What is meant.
        log: Used here alone.
        positions: How far the stage has read.
        decoders: Of its topics.
    """
    numbers = iter(range(1 << 62))
    for topic in dict.fromkeys(at.topic for at in positions):
        decoder = decoders[topic]
        last: dict[tuple[int, bytes], int] = {}
        for count, record in enumerate(_read_before(log, topic, positions), 1):
            if _is_meant(again, record, decoder):
                last[record.partition, record.key or b"%d" % record.offset] = record.offset
            if count % MOMENT == 0:
                yield None
        places = {(partition, offset) for (partition, _), offset in last.items()}
        if not places:
            continue
        for count, record in enumerate(_read_before(log, topic, positions), 1):
            if (record.partition, record.offset) in places:
                yield _flight(record, decoder, replayed_at(topic, next(numbers)))
            elif count % MOMENT == 0:
                yield None


def _read_before(log: Log, topic: str, positions: Mapping[TopicPartition, int]) -> Iterator[LogRecord]:
    """What a stage has read of a topic, as far as the log still has it."""
    for record in log.scan(topic):
        if record.offset < positions.get(TopicPartition(topic, record.partition), 0):
            yield record


def _is_meant(again: Again, record: LogRecord, decoder: Decoder) -> bool:
    if record.timestamp_ms < again.since_ms:
        return False
    if not again.key:
        return True
    origin = _change(record, decoder).origin
    return origin.key == again.key and again.source in ("", origin.source)


def _change(record: LogRecord, decoder: Decoder) -> Change:
    try:
        return decoder.decode(record)
    except Rejected:
        return decoder.unknown(record)


def _flight(record: LogRecord, decoder: Decoder, ticket: Ticket) -> Flight:
    raw = record.value or b""
    replay = Replay(b"", "", Ticket.of(record), len(raw), hashlib.sha256(raw).hexdigest())
    try:
        return Flight(decoder.decode(record), ticket, raw, None, replay)
    except Rejected as error:
        return Flight(decoder.unknown(record), ticket, raw, Failure.of(record.topic, error), replay)
