"""Topics of a cluster: made, described, listed and removed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import ConfigResource, NewTopic, OffsetSpec, ResourceType  # type: ignore[attr-defined]

from nvisy.errors import NvisyError, Refused, Unreachable, UsageError
from nvisy.topics.kafka.cluster import ANSWER_TIMEOUT_S, MAX_MESSAGE_BYTES, Cluster
from nvisy.topics.kafka.faults import is_between_leaders, is_missing_topic
from nvisy.topics.limits import check_topic_name
from nvisy.topics.log import TopicInfo

_DAY_MS = 24 * 60 * 60 * 1000
_EDGE = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "min.compaction.lag.ms": "60000",
    "max.compaction.lag.ms": str(7 * _DAY_MS),
}
STATE_SETTINGS = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(MAX_MESSAGE_BYTES),
    "segment.ms": "600000",
    "max.compaction.lag.ms": "600000",
}
"""A graph's state is read whole at every start and written every second: it is compacted within minutes."""

EVENTS_SETTINGS = {"cleanup.policy": "delete", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
"""Several events of one key stand beside each other here: compaction would leave the last of them alone."""

_COMPACTING = (
    "cleanup.policy",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
    "segment.ms",
    "min.cleanable.dirty.ratio",
)
_EXPIRING_BYTES = 64 * 1024 * 1024
_EXPIRING = ("cleanup.policy", "retention.ms", "retention.bytes", "segment.ms")
_MARKER_WAIT_S = 0.1
TRANSACTION_WAIT_S = 30.0
"""A transaction that was left open is ended by its broker after 10 s, which it looks for every 10 s."""
_LEADER_WAIT_S = 0.05


class _Offset(NamedTuple):
    """A kind of offset to ask for."""

    spec: Any
    isolation: IsolationLevel


_EARLIEST = _Offset(OffsetSpec.earliest(), IsolationLevel.READ_COMMITTED)  # type: ignore[no-untyped-call]
_READABLE = _Offset(OffsetSpec.latest(), IsolationLevel.READ_COMMITTED)  # type: ignore[no-untyped-call]
_APPENDED = _Offset(OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED)  # type: ignore[no-untyped-call]

_FOREIGN_MAX_BYTES = 1_048_576 - 1_024
_FRAMING_BYTES = 64 * 1024


class Topics:
    """The topics of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._limits: dict[str, int] = {}

    def create(self, topic: str, partitions: int, settings: Mapping[str, str] = _EDGE) -> TopicInfo:
        """Make a topic, or verify the one that is there."""
        check_topic_name(topic)
        if partitions < 1:
            raise UsageError(f"topic {topic!r} needs at least one partition, not {partitions}")
        info = self.describe(topic)
        if info is None:
            self._make(topic, partitions, settings)
            info = self._appeared(topic)
        if info.partitions != partitions:
            raise Refused(
                f"topic {topic!r} has {info.partitions} partitions, the graph asks for {partitions}: set "
                f'"log": {{"partitions": {info.partitions}}}, or give the graph another id'
            )
        return info

    def describe(
        self, topic: str, *, settled: bool = False, only: Sequence[int] | None = None
    ) -> TopicInfo | None:
        """The topic, or `only` these partitions of it, as it is now, or None.

        See `nvisy.topics.log.Log.describe` for `settled`.
        """
        found = self._description(topic)
        if found is None:
            return None
        partitions = range(len(found.partitions))
        start, end = self._start_and_end(topic, partitions if only is None else only, settled=settled)
        return TopicInfo(topic, str(found.topic_id), len(partitions), start, end)

    def existing(self, topic: str, *, settled: bool = False, only: Sequence[int] | None = None) -> TopicInfo:
        """The topic as `describe` has it; `Refused` where there is none."""
        info = self.describe(topic, settled=settled, only=only)
        if info is None:
            raise Refused(f"there is no topic {topic!r} on {self._cluster.url}")
        return info

    def names(self) -> Sequence[str]:
        """All topics but the broker's own."""
        try:
            found = self._cluster.admin.list_topics(timeout=ANSWER_TIMEOUT_S).topics
        except KafkaException as error:
            raise self._cluster.fault(error, "listing topics") from error
        return sorted(name for name in found if not name.startswith("__"))

    def delete(self, topic: str) -> None:
        """Remove a topic, if it is there, and wait until it is gone."""
        future = self._cluster.admin.delete_topics(
            [check_topic_name(topic)], request_timeout=ANSWER_TIMEOUT_S
        )[topic]
        try:
            self._cluster.result(future)
        except KafkaException as error:
            if is_missing_topic(error.args[0]):
                return
            raise self._cluster.fault(error, f"deleting topic {topic!r}") from error
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while self._description(topic) is not None and time.monotonic() < deadline:
            time.sleep(0.02)

    def max_record_bytes(self, topic: str) -> int:
        """How large a record the topic takes, as far as we may ask; a broker's default where we may not."""
        if topic not in self._limits:
            found = self.settings(topic).get("max.message.bytes")
            self._limits[topic] = int(found) if found is not None else _FOREIGN_MAX_BYTES
        limit = self._limits[topic]
        return limit - (_FRAMING_BYTES if limit >= MAX_MESSAGE_BYTES else 1_024)

    def settings(self, topic: str) -> Mapping[str, str]:
        """How the topic is kept, as its broker names it; nothing where we may not ask."""
        resource = ConfigResource(ResourceType.TOPIC, topic)
        future = self._cluster.admin.describe_configs([resource], request_timeout=ANSWER_TIMEOUT_S)[resource]
        try:
            entries = self._cluster.answer(future, f"reading the settings of topic {topic!r}")
        except Refused:
            return {}
        return {name: entry.value for name, entry in entries.items() if entry.value is not None}

    def _description(self, topic: str) -> Any:
        wanted = TopicCollection([topic])
        future = self._cluster.admin.describe_topics(wanted, request_timeout=ANSWER_TIMEOUT_S)[topic]
        try:
            return self._cluster.result(future)
        except KafkaException as error:
            if is_missing_topic(error.args[0]):
                return None
            raise self._cluster.fault(error, f"looking up topic {topic!r}") from error
        except Exception as error:
            raise self._cluster.fault(error, f"looking up topic {topic!r}") from error

    def _start_and_end(
        self, topic: str, partitions: Sequence[int], *, settled: bool
    ) -> tuple[dict[int, int], dict[int, int]]:
        """First and readable end offsets.

        A commit returns before its markers are written, so an end that is short of the last record is asked for
        again for a moment: what was committed before we were called is then below it. Where a process died within a
        transaction, what others committed after that is readable only when the broker has ended it.
        """
        places = [KafkaPartition(topic, partition) for partition in partitions]
        start, appended, end = self._offsets(places, (_EARLIEST, _APPENDED, _READABLE))
        wait_s, pause_s = (TRANSACTION_WAIT_S, 0.05) if settled else (_MARKER_WAIT_S, 0.005)
        deadline = time.monotonic() + wait_s
        while any(end[p] < appended[p] for p in end):
            if time.monotonic() > deadline:
                if settled:
                    why = f"a transaction that was left open has not been ended within {wait_s:.0f} s"
                    raise Unreachable(f"reading topic {topic!r} at {self._cluster.url}: {why}")
                break
            time.sleep(pause_s)
            (end,) = self._offsets(places, (_READABLE,))
        return start, end

    def _offsets(self, places: Sequence[KafkaPartition], kinds: Sequence[_Offset]) -> list[dict[int, int]]:
        """Offsets of every kind asked for, all in one round; once more while a partition is between leaders."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return self._offsets_now(places, kinds)
            except Unreachable as error:
                if not is_between_leaders(error.__cause__) or time.monotonic() > deadline:
                    raise
                time.sleep(_LEADER_WAIT_S)

    def _offsets_now(
        self, places: Sequence[KafkaPartition], kinds: Sequence[_Offset]
    ) -> list[dict[int, int]]:
        doing = f"asking for the offsets of topic {places[0].topic!r}"
        rounds = [
            self._cluster.admin.list_offsets(
                dict.fromkeys(places, kind.spec),
                isolation_level=kind.isolation,
                request_timeout=ANSWER_TIMEOUT_S,
            )
            for kind in kinds
        ]
        return [
            {place.partition: self._cluster.answer(future, doing).offset for place, future in futures.items()}
            for futures in rounds
        ]

    def _make(self, topic: str, partitions: int, settings: Mapping[str, str]) -> None:
        wanted = NewTopic(topic, num_partitions=partitions, config=dict(settings))
        future = self._cluster.admin.create_topics([wanted], request_timeout=ANSWER_TIMEOUT_S)[topic]
        try:
            self._cluster.result(future)
        except KafkaException as error:
            code = error.args[0].code()
            if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED):
                raise Refused(
                    f"topic {topic!r} is not there and may not be created: have it made with {partitions} "
                    f"partitions, cleanup.policy=compact and max.message.bytes={MAX_MESSAGE_BYTES}"
                ) from error
            if code != KafkaError.TOPIC_ALREADY_EXISTS:
                raise self._cluster.fault(error, f"creating topic {topic!r}") from error

    def _appeared(self, topic: str) -> TopicInfo:
        """A topic just made, once every partition has a leader."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        fault: NvisyError = Unreachable(
            f"topic {topic!r} was created but does not appear on {self._cluster.url}"
        )
        while time.monotonic() < deadline:
            try:
                info = self.describe(topic)
            except NvisyError as error:
                fault, info = error, None
            if info is not None:
                return info
            time.sleep(0.02)
        raise fault


def expiring(days: int) -> Mapping[str, str]:
    """Of a topic whose records go when they are so old, or when a later one of their key stands in it."""
    return {
        **_EDGE,
        "cleanup.policy": "compact,delete",
        "retention.ms": str(days * _DAY_MS),
        "retention.bytes": str(_EXPIRING_BYTES),
    }


def removal_of(settings: Mapping[str, str]) -> str:
    """When brokers remove a record that a later one of its key has replaced, in words and settings."""
    if not settings:
        return "the broker removes them, when is not for us to see: its administrator may read the topic's settings"
    compacts = "compact" in settings.get("cleanup.policy", "")
    names = _COMPACTING if compacts else _EXPIRING
    said = ", ".join(f"{name}={settings[name]}" for name in names if name in settings)
    what = "compacts the topic" if compacts else "drops the segment that they are in"
    return f"until the broker {what} ({said})"
