"""A stage's seat at an embedded log: appends and positions in one transaction of its home file."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence

from nvisy.errors import NvisyError, Refused, UsageError
from nvisy.fault_points import Point, reach
from nvisy.topics.embedded import seat_rows
from nvisy.topics.embedded.control_file import ControlFile
from nvisy.topics.embedded.reader import Reader
from nvisy.topics.embedded.seat_rows import Position
from nvisy.topics.embedded.sqlite import immediate, said_plainly
from nvisy.topics.embedded.topic_file import TopicFile
from nvisy.topics.limits import check_sizes
from nvisy.topics.log import ADOPT_HINT, Append, LogRecord, Seat, TopicPartition


class EmbeddedSession:
    """The seat of one stage, held until another session takes it.

    Its home is locked first and its token checked, then other topics are written, then the home: a successor
    cannot take the seat in between, and a crash in between repeats those other records but never loses one.
    """

    def __init__(
        self,
        seat: Seat,
        home: TopicFile | ControlFile,
        inputs: Sequence[TopicFile],
        open_topic: Callable[[str], TopicFile],
        *,
        adopt: bool = False,
    ) -> None:
        self._seat = seat
        self._home = home
        self._open_topic = open_topic
        self._written: dict[str, TopicFile] = {home.name: home} if isinstance(home, TopicFile) else {}
        self._pending: dict[str, list[Append]] = {}
        self._ended: NvisyError | None = None
        with said_plainly(home.path), immediate(home.db):
            self._token = seat_rows.take(home.db, seat)
        reach(Point.SEAT_TAKEN)
        self._topic_ids = {file.name: file.id for file in inputs}
        self._positions = self._starts(inputs, adopt=adopt)
        self._reader = Reader(inputs, self._positions)
        reach(Point.SEATED)

    def positions(self) -> Mapping[TopicPartition, int]:
        """See `nvisy.topics.log.Session`."""
        return dict(self._positions)

    def poll(
        self, limit: int, timeout_s: float, *, paused: bool = False, held: Collection[TopicPartition] = ()
    ) -> Sequence[LogRecord]:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        if paused or not self._positions:
            time.sleep(timeout_s)
            return ()
        return self._reader.poll(limit, timeout_s, held)

    def append(self, records: Sequence[Append]) -> None:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        check_sizes(records)
        for record in records:
            if record.topic not in self._written:
                self._written[record.topic] = self._open_topic(record.topic)
            self._written[record.topic].check_partition(record.partition)
            self._pending.setdefault(record.topic, []).append(record)

    def commit(
        self, positions: Mapping[TopicPartition, int], state: Mapping[str, bytes | None] | None = None
    ) -> None:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        self._check_positions(positions)
        if not (positions or state or self._pending):
            return
        try:
            self._write(positions, state or {})
        except NvisyError as error:
            self._ended = error
            raise
        self._positions.update(positions)
        self._pending = {}

    def state(self) -> Mapping[str, bytes]:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        with said_plainly(self._home.path):
            return seat_rows.state(self._home.db, self._seat)

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """See `nvisy.topics.log.Session`."""
        return self._reader.passed(ends)

    def close(self) -> None:
        """See `nvisy.topics.log.Session`."""
        self._ended = self._ended or UsageError(f"the session of stage {self._seat.stage!r} was closed")
        self._pending = {}
        self._reader.close()
        for file in self._written.values():
            file.close()
        self._home.close()

    def _starts(self, inputs: Sequence[TopicFile], *, adopt: bool) -> dict[TopicPartition, int]:
        """Where to read on, by partition that is ours."""
        stored = seat_rows.positions(self._home.db, self._seat)
        starts: dict[TopicPartition, int] = {}
        for file in inputs:
            for partition, end in file.ends().items():
                place = TopicPartition(file.name, partition)
                position = stored.get(place)
                if position is not None and position.next > 0:
                    fault = _fault_of(place, position, file.id, end)
                    if fault is not None and not adopt:
                        raise fault
                    position = None if fault is not None else position
                if partition % self._seat.slots == self._seat.slot:
                    starts[place] = position.next if position is not None else 0
        return starts

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _check_positions(self, positions: Mapping[TopicPartition, int]) -> None:
        for place in positions:
            if place not in self._positions:
                raise UsageError(
                    f"stage {self._seat.stage!r} does not read partition {place.partition} of {place.topic!r}"
                )

    def _write(self, positions: Mapping[TopicPartition, int], state: Mapping[str, bytes | None]) -> None:
        home = self._home
        others = [self._written[topic] for topic in self._pending if self._written[topic] is not home]
        with said_plainly(home.path), immediate(home.db):
            if not seat_rows.holds(home.db, self._seat, self._token):
                raise Refused(
                    f"stage {self._seat.stage!r} of {self._seat.graph!r} was taken over by another process"
                )
            reach(Point.LOG_OPEN)
            for file in others:
                with said_plainly(file.path), immediate(file.db):
                    self._insert(file)
                reach(Point.LOG_BESIDE)
            if isinstance(home, TopicFile):
                self._insert(home)
            rows = (
                (place, Position(self._topic_ids[place.topic], next_)) for place, next_ in positions.items()
            )
            seat_rows.store_positions(home.db, self._seat, rows)
            seat_rows.store_state(home.db, self._seat, state)
            reach(Point.LOG_COMMIT)

    def _insert(self, file: TopicFile) -> None:
        file.refuse_if_replaced()
        file.insert(self._pending.get(file.name, ()))


def _fault_of(place: TopicPartition, position: Position, topic_id: str, end: int) -> Refused | None:
    """Why reading cannot go on: the log is no longer the one the position was stored for."""
    name = f"topic {place.topic!r}, partition {place.partition}"
    if position.topic_id != topic_id:
        return Refused(
            f"{name}: the topic was made anew since it was read up to offset {position.next}: "
            f"what was in it cannot be followed up; {ADOPT_HINT}"
        )
    if position.next > end:
        return Refused(
            f"gap: {name} was read up to {position.next} but ends at {end}: an older copy of it was restored; "
            f"{ADOPT_HINT}"
        )
    return None
