"""A stage's seat at Kafka: a transactional producer and a member of the stage's consumer group."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

from nvisy.errors import NvisyError, Refused, UsageError
from nvisy.fault_points import Point, reach
from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.kafka.reader import Reader
from nvisy.topics.kafka.state import (
    make_state_topic,
    said_by_stages,
    stage_state,
    topic_id_append,
    value_append,
)
from nvisy.topics.kafka.topics import Topics
from nvisy.topics.kafka.writer import Writer
from nvisy.topics.limits import check_size, check_sizes, record_bytes
from nvisy.topics.log import ADOPT_HINT, Append, LogRecord, Seat, TopicInfo, TopicPartition

_ANY_TOPIC_TAKES_BYTES = 512 * 1024


class KafkaSession:
    """The seat of one slot of a stage.

    The producer is opened first: that fences the predecessor and ends its transaction, without which the
    positions read next could be stale, or not be given for seconds.
    """

    def __init__(self, cluster: Cluster, topics: Topics, seat: Seat, *, adopt: bool = False) -> None:
        self._cluster = cluster
        self._topics = topics
        self._seat = seat
        self._ended: NvisyError | None = None
        self._partitions = {topic: topics.existing(topic).partitions for topic in seat.outputs}
        inputs = [topics.existing(topic) for topic in seat.inputs]
        self._inputs = {info.name: info.id for info in inputs}
        self._reader: Reader | None = None
        self._writer = Writer(cluster, f"nvisy.{seat.graph}.{seat.stage}.{seat.slot}")
        reach(Point.SEAT_TAKEN)
        try:
            self._state = stage_state(seat, said_by_stages(cluster, topics, seat.graph))
            if seat.inputs:
                anew = self._made_anew(adopt=adopt)
                n_partitions = sum(info.partitions for info in inputs)
                self._reader = Reader(
                    cluster, seat, self._same_as_before, n_partitions=n_partitions, anew=anew, adopt=adopt
                )
        except BaseException:
            self._writer.close()
            raise
        self._positions = dict(self._reader.positions()) if self._reader else {}
        reach(Point.SEATED)

    def positions(self) -> Mapping[TopicPartition, int]:
        """See `nvisy.topics.log.Session`."""
        started = self._reader.positions() if self._reader else {}
        return {**started, **self._positions}

    def poll(
        self, limit: int, timeout_s: float, *, paused: bool = False, held: Collection[TopicPartition] = ()
    ) -> Sequence[LogRecord]:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        if self._reader is None:
            time.sleep(timeout_s)
            return []
        try:
            return self._reader.poll(limit, timeout_s, paused=paused, held=held)
        except NvisyError as error:
            self._ended = error
            raise

    def append(self, records: Sequence[Append]) -> None:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        check_sizes(records)
        for record in records:
            self._check(record)
        self._append(records)

    def commit(
        self, positions: Mapping[TopicPartition, int], state: Mapping[str, bytes | None] | None = None
    ) -> None:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        for place in positions:
            if self._reader is None or not self._reader.owns(place):
                raise UsageError(
                    f"stage {self._seat.stage!r} does not read partition {place.partition} of {place.topic!r}"
                )
        unsaid = {place.topic for place in positions} - self._state.topic_ids.keys()
        notes = [topic_id_append(self._seat, topic, self._inputs[topic]) for topic in sorted(unsaid)]
        notes += [value_append(self._seat, name, value) for name, value in (state or {}).items()]
        if notes:
            make_state_topic(self._topics, self._seat.graph)
            check_sizes(notes)
            self._append(notes)
        self._commit(positions)
        self._positions.update(positions)
        self._remember(unsaid, state or {})

    def state(self) -> Mapping[str, bytes]:
        """See `nvisy.topics.log.Session`."""
        self._check_open()
        return dict(self._state.values)

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """See `nvisy.topics.log.Session`."""
        return self._reader is None or self._reader.caught_up(ends)

    def close(self) -> None:
        """See `nvisy.topics.log.Session`."""
        if isinstance(self._ended, UsageError):
            return
        self._ended = UsageError(f"the session of stage {self._seat.stage!r} was closed")
        self._writer.close()
        if self._reader is not None:
            self._reader.close()

    def _append(self, records: Sequence[Append]) -> None:
        try:
            self._writer.append(records)
        except NvisyError as error:
            self._ended = error
            raise

    def _commit(self, positions: Mapping[TopicPartition, int]) -> None:
        membership = self._reader.membership if self._reader else None
        settled = self._reader.settled(positions) if self._reader else {}
        try:
            self._writer.commit(settled, membership)
        except NvisyError as error:
            self._ended = error
            raise

    def _check_open(self) -> None:
        if self._ended is not None:
            raise self._ended

    def _check(self, record: Append) -> None:
        topic = record.topic
        if topic not in self._partitions:
            self._partitions[topic] = self._topics.existing(topic).partitions
        if not 0 <= record.partition < self._partitions[topic]:
            last = self._partitions[topic] - 1
            raise UsageError(f"topic {topic!r} has partitions 0 to {last}, not {record.partition}")
        size = record_bytes(record)
        if size > _ANY_TOPIC_TAKES_BYTES:
            check_size(size, topic, self._topics.max_record_bytes(topic))

    def _made_anew(self, *, adopt: bool) -> frozenset[str]:
        """Inputs that are not the topics the stage has read; from here on they are, if they are adopted."""
        known = self._state.topic_ids
        anew = {topic for topic, topic_id in self._inputs.items() if known.get(topic, topic_id) != topic_id}
        if adopt:
            for topic in anew:
                del known[topic]
        return frozenset(anew)

    def _same_as_before(self, topic: str) -> TopicInfo:
        """The input as it is now; `Refused` if it is not the topic the stage has read."""
        info = self._topics.existing(topic)
        if self._state.topic_ids.get(topic, self._inputs[topic]) != info.id:
            raise Refused(
                f"topic {topic!r} was made anew since stage {self._seat.stage!r} read it: "
                f"what was in it cannot be followed up; {ADOPT_HINT}"
            )
        return info

    def _remember(self, topics: set[str], state: Mapping[str, bytes | None]) -> None:
        for topic in topics:
            self._state.topic_ids[topic] = self._inputs[topic]
        for name, value in state.items():
            if value is None:
                self._state.values.pop(name, None)
            else:
                self._state.values[name] = value
