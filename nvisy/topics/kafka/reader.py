"""A member of a stage's consumer group: reads its partitions and knows how far it has come."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from typing import Any, NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as KafkaPartition

from nvisy.errors import DealtAnew, NvisyError, Refused, Unreachable
from nvisy.topics.kafka.calls import Caller
from nvisy.topics.kafka.cluster import ANSWER_TIMEOUT_S, Cluster
from nvisy.topics.kafka.faults import fault_of
from nvisy.topics.kafka.scan import record_of, take
from nvisy.topics.log import ADOPT_HINT, LogRecord, Seat, TopicInfo, TopicPartition

_logger = logging.getLogger("nvisy.topics")

_JOIN_TIMEOUT_S = 60.0
_SILENCE_S = 10.0
_SESSION_TIMEOUT_MS = 10_000


def group_of(seat: Seat) -> str:
    """The consumer group of a stage under its present configuration."""
    return f"nvisy.{seat.graph}.{seat.stage}.{seat.config}"


class Passed(NamedTuple):
    """How far a partition has been read: past its last record, and past what followed but is no record."""

    records: int
    everything: int


class Reader:
    """Reads the partitions the group gives to one slot of a stage.

    The slot is a static member, so a process that replaces another one gets its partitions at once, and the
    one replaced is refused. Partitions of one number go to one slot, whatever their topic. When partitions are
    dealt anew the session ends: what was read before must not be committed after.
    """

    def __init__(
        self,
        cluster: Cluster,
        seat: Seat,
        describe: Callable[[str], TopicInfo],
        *,
        n_partitions: int,
        anew: frozenset[str] = frozenset(),
        adopt: bool = False,
    ) -> None:
        """Join the group.

        Args:
            cluster: Where.
            seat: Of the stage.
            describe: An input as it is now; raises where it is none to go on with.
            n_partitions: Of all inputs together. It is a part of the member's name, since a member that comes back
                under the same one gets what it had, and never a partition that was added meanwhile.
            anew: Inputs of which no position counts.
            adopt: A position that is no longer in the log counts for nothing, either.
        """
        self._cluster = cluster
        self._describe = describe
        # Or will have: a partition that was just added is dealt out seconds later.
        self._has_all = seat.slots == 1 and not seat.shared
        self._anew = anew
        self._adopt = adopt
        self._passed: dict[TopicPartition, Passed] = {}
        self._starts: dict[TopicPartition, int] = {}
        self._inbox: deque[Message] = deque()
        self._joined = False
        self._closing = False
        self._paused: Set[TopicPartition] = frozenset()
        self._fault: NvisyError | None = None
        self._heard_at = time.monotonic()
        self._consumer: Consumer = cluster.consumer(
            {
                "group.id": group_of(seat),
                "group.instance.id": f"{seat.slot}-{n_partitions}",
                "session.timeout.ms": _SESSION_TIMEOUT_MS,
                "partition.assignment.strategy": "range",
                "auto.offset.reset": "error",
            }
        )
        self._join(seat)
        self.membership: Any = self._consumer.consumer_group_metadata()

    def positions(self) -> Mapping[TopicPartition, int]:
        """Where reading began, by partition that is ours."""
        return self._starts

    def poll(
        self, limit: int, timeout_s: float, *, paused: bool, held: Collection[TopicPartition] = ()
    ) -> Sequence[LogRecord]:
        """See `nvisy.topics.log.Session`."""
        self._pause(frozenset(self._passed) if paused else frozenset(held) & self._passed.keys())
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.0, deadline - time.monotonic())
            self._receive(limit, 0.0 if self._inbox and not paused else left_s)
            records = [] if paused else self._hand_out(limit)
            if records:
                self.membership = self._consumer.consumer_group_metadata()
                return records
            if left_s <= 0:
                return records

    def settled(self, positions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        """Positions moved past what is no record, where everything handed out before it is done."""
        settled: dict[TopicPartition, int] = {}
        for place, next_ in positions.items():
            passed = self._passed[place]
            settled[place] = passed.everything if next_ == passed.records else next_
        return settled

    def owns(self, place: TopicPartition) -> bool:
        """Whether a partition is ours."""
        return place in self._passed

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """See `nvisy.topics.log.Session`."""
        return all(
            self._has_passed(place, end)
            for place, end in ends.items()
            if place in self._passed or (self._has_all and end > 0)
        )

    def _has_passed(self, place: TopicPartition, end: int) -> bool:
        passed = self._passed.get(place)
        return passed is not None and passed.everything >= end

    def close(self) -> None:
        """Leave. A static member that comes back within seconds finds its partitions waiting."""
        self._closing = True
        leaving = Caller("leaving a group")
        try:
            leaving.call("leaving the group", ANSWER_TIMEOUT_S, self._consumer.close)
        except (NvisyError, RuntimeError) as error:
            _logger.debug("%s: %s", self._cluster.url, error)
        leaving.close()

    def _join(self, seat: Seat) -> None:
        self._consumer.subscribe(
            list(seat.inputs), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        deadline = time.monotonic() + _JOIN_TIMEOUT_S
        while not self._joined:
            self._receive(1, 0.1)
            if time.monotonic() > deadline:
                raise Unreachable(f"group {group_of(seat)!r} on {self._cluster.url} gave no partitions")

    def _receive(self, limit: int, timeout_s: float) -> None:
        """Move messages that have arrived into the inbox, and let the client do its upkeep."""
        try:
            messages = take(self._consumer, limit, timeout_s)
        except (KafkaException, RuntimeError) as error:
            raise self._cluster.fault(error, "reading") from error
        if self._fault is not None:
            raise self._fault
        self._inbox.extend(messages)
        if messages:
            self._heard_at = time.monotonic()
        elif self._cluster.complaint and time.monotonic() - self._heard_at > _SILENCE_S:
            self._make_sure_of_the_broker()

    def _hand_out(self, limit: int) -> list[LogRecord]:
        records: list[LogRecord] = []
        while self._inbox and len(records) < limit:
            message = self._inbox.popleft()
            error = message.error()
            if error is None:
                record = record_of(message)
                records.append(record)
                self._passed[record.at] = Passed(record.offset + 1, record.offset + 1)
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended(message)
            else:
                raise fault_of(error, f"reading {message.topic() or 'topics'}", self._cluster.url)
        return records

    def _ended(self, message: Message) -> None:
        place = TopicPartition(str(message.topic()), int(message.partition() or 0))
        passed = self._passed.get(place)
        if passed is not None:
            self._passed[place] = Passed(passed.records, max(passed.everything, int(message.offset() or 0)))

    def _pause(self, places: Set[TopicPartition]) -> None:
        """Fetch nothing of these partitions, and again of those that were left alone until now."""
        if places == self._paused:
            return
        self._consumer.pause([KafkaPartition(*place) for place in places - self._paused])
        self._consumer.resume([KafkaPartition(*place) for place in self._paused - places])
        self._paused = places

    def _make_sure_of_the_broker(self) -> None:
        """A consumer whose broker is gone only stays silent, so ask."""
        self._heard_at = time.monotonic()
        try:
            self._consumer.list_topics(timeout=ANSWER_TIMEOUT_S)
        except KafkaException as error:
            raise self._cluster.fault(error, "reading") from error
        self._cluster.complaint = ""

    def _assigned(self, consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        """Called within `poll`: an exception raised here would lose the assignment, so it is kept for later.

        Other copies go on committing: the ends of the topics are asked for after the positions, never before.
        """
        try:
            committed = consumer.committed(partitions, timeout=ANSWER_TIMEOUT_S) if partitions else []
            infos = {topic: self._describe(topic) for topic in {place.topic for place in committed}}
            begin = [self._begin(place, infos[place.topic]) for place in committed]
            consumer.assign(begin)
            self._paused = frozenset()
        except (KafkaException, NvisyError) as error:
            self._fault = self._cluster.fault(error, "joining the group")
        self._joined = True

    def _begin(self, committed: KafkaPartition, info: TopicInfo) -> KafkaPartition:
        if committed.error is not None:
            raise fault_of(
                committed.error, f"asking for the position in topic {committed.topic!r}", self._cluster.url
            )
        place = TopicPartition(committed.topic, committed.partition)
        start, end = info.start.get(place.partition, 0), info.end.get(place.partition)
        known = committed.offset >= 0 and place.topic not in self._anew
        if known and (committed.offset < start or (end is not None and committed.offset > end)):
            if not self._adopt:
                raise Refused(
                    f"gap: topic {place.topic!r}, partition {place.partition} was read up to {committed.offset}, "
                    f"but holds {start} to {end}: what is missing cannot be followed up; {ADOPT_HINT}"
                )
            known = False
        self._starts[place] = committed.offset if known else start
        self._passed[place] = Passed(self._starts[place], self._starts[place])
        return KafkaPartition(place.topic, place.partition, committed.offset if known else OFFSET_BEGINNING)

    def _revoked(self, _consumer: Consumer, partitions: list[KafkaPartition]) -> None:
        if partitions and not self._closing:
            names = ", ".join(f"{place.topic}/{place.partition}" for place in partitions)
            self._fault = DealtAnew(
                f"partitions {names} are being dealt anew among the copies of the stage: open it again"
            )

    def _lost(self, _consumer: Consumer, _partitions: list[KafkaPartition]) -> None:
        if not self._closing and self._fault is None:
            self._fault = DealtAnew(
                f"{self._cluster.url} was not heard of for so long that the stage lost its partitions: open it again"
            )
