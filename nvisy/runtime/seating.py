"""Taking the seat of a stage at the log, and reading its input from the beginning where that is due."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from nvisy.errors import DealtAnew, Unreachable
from nvisy.plan.model import Stage
from nvisy.primitives.primitive import content_hash
from nvisy.runtime.memory import Memory
from nvisy.runtime.sinks import OpenSink
from nvisy.topics.log import Log, Seat, Session, TopicPartition

KEEP_S = 0.1
MAX_DEALS = 10

_logger = logging.getLogger(__name__)


class Seating:
    """A stage's seat, which may be taken several times before the stage begins.

    Attributes:
        session: The one there is now.
        memory: What its stage remembers.
        is_rewound: A collection that the stage writes to was found to be an older copy.
    """

    session: Session
    memory: Memory
    is_rewound: bool

    def __init__(
        self,
        log: Log,
        seat: Seat,
        sinks: Sequence[OpenSink],
        *,
        adopt: bool,
        starts: Mapping[TopicPartition, int] = MappingProxyType({}),
    ) -> None:
        """Take the seat, once nobody else takes one beside it. `starts`: where the input begins, if not where it does.

        Raises:
            Refused: The state or the input of the stage is not one that it may go on with.
            Unreachable: The log does not answer, or does not come to rest.
        """
        self._log = log
        self._seat = seat
        self._sinks = sinks
        self._adopt = adopt
        self._starts = starts
        self._sit()

    def start_over(self) -> None:
        """Read the input from its beginning."""
        self.session.close()
        self._take(from_start=True)

    def go_back(self, places: Mapping[TopicPartition, int]) -> None:
        """Read the input from these places, where it was read further."""
        positions = self.session.positions()
        back = {at: place for at, place in places.items() if positions.get(at, 0) > place}
        if back:
            self.session.commit(back)
            self.session.close()
            self._take()

    def keep(self, until: threading.Event) -> None:
        """Keep the seat, also while the partitions of its stage are dealt out among its copies."""
        while not until.is_set():
            if self._seat.slots == 1 and not self._seat.shared:
                until.wait()
                return
            try:
                self.session.poll(1, KEEP_S, paused=True)
            except DealtAnew:
                self.session.close()
                self._sit()

    def close(self) -> None:
        """Give up the seat. May be called twice."""
        self.session.close()

    def _take(self, *, from_start: bool = False) -> None:
        self.session, self.memory = take_seat(
            self._log, self._seat, adopt=self._adopt, from_start=from_start, begins=self._starts
        )

    def _sit(self) -> None:
        for _ in range(MAX_DEALS):
            try:
                self._take()
                self.is_rewound = any(sink.stamping.index_is_older(self.memory) for sink in self._sinks)
                if self.is_rewound:
                    _logger.warning(
                        "an index is new, or an older copy: what the log holds is written into it again"
                    )
                    self.start_over()
            except DealtAnew as error:
                _logger.debug("%s", error)
            else:
                return
        raise Unreachable(f"{self._log.url} deals the partitions of stage {self._seat.stage} again and again")


def seat_config(stage: Stage, collections: Sequence[str], absences: int) -> str:
    """By what the seat of a stage is told from others: with another one its input is read from the beginning.

    Args:
        stage: The stage.
        collections: Ids of the collections of its sinks: one that was made anew lacks what was read.
        absences: How often the graph was run without the stage: others may have filled its topics meanwhile.
    """
    more = [*collections, *([str(absences)] if absences else ())]
    return content_hash(stage.config, *more)[:12] if more else stage.config


def take_seat(
    log: Log,
    seat: Seat,
    *,
    adopt: bool,
    from_start: bool = False,
    begins: Mapping[TopicPartition, int] = MappingProxyType({}),
) -> tuple[Session, Memory]:
    """The session of a stage, and what it remembers.

    Its positions start over when it is configured otherwise than it was last (also if it was like this once before),
    and when `from_start` asks for it. Each partition for itself: copies of the stage come one after the other. The
    input begins where its topics do, or where `begins` says.
    """
    session = log.session(seat, adopt=adopt)
    if adopt:  # or what was adopted would be refused again, where nothing is read from it
        session.commit(session.positions())
    memory = Memory(session)
    positions = session.positions()
    ours: set[int | None] = {at.partition for at in positions} if seat.inputs else {None}
    anew = {one for one in ours if from_start or not memory.is_configured(seat.config, one)}
    if not anew:
        return session, memory
    starts = dict.fromkeys(positions, 0)
    for topic in seat.inputs:
        if (info := log.describe(topic)) is not None:
            starts |= {TopicPartition(topic, partition): start for partition, start in info.start.items()}
    starts |= {at: max(starts[at], offset) for at, offset in begins.items() if at in starts}
    back = {
        at: starts[at]
        for at, position in positions.items()
        if at.partition in anew and position != starts[at]
    }
    values = memory.configured(seat.config, {one for one in anew if one is not None})
    session.commit(back, values)
    if back:
        session.close()
        session = log.session(seat, adopt=adopt)
    return session, Memory(session)
