"""The log on a Kafka cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from nvisy.topics.kafka.address import parse_address
from nvisy.topics.kafka.cluster import ANSWER_TIMEOUT_S, Cluster
from nvisy.topics.kafka.joining import KafkaMembership
from nvisy.topics.kafka.lease import KafkaClaim, Leases, holder, take_lease
from nvisy.topics.kafka.positions import Positions
from nvisy.topics.kafka.reader import group_of
from nvisy.topics.kafka.scan import read, scan
from nvisy.topics.kafka.session import KafkaSession
from nvisy.topics.kafka.state import said_by_stages, stage_state, state_topic, values_named
from nvisy.topics.kafka.topics import EVENTS_SETTINGS, Topics, expiring, removal_of
from nvisy.topics.limits import check_topic_name
from nvisy.topics.log import Erased, Holder, LogRecord, Seat, TopicInfo, TopicPartition


def connect_kafka(url: str, *, root: Path, environ: Mapping[str, str]) -> KafkaLog:
    """The log at `url`, after its cluster has answered.

    Raises:
        UsageError: The address or a setting makes no sense.
        Unreachable: No broker answers within ten seconds.
    """
    return KafkaLog(Cluster(parse_address(url, environ)), root)


class KafkaLog:
    """A log on a cluster. `root` is where lock files tell which runs of this machine are alive."""

    def __init__(self, cluster: Cluster, root: Path) -> None:
        self._cluster = cluster
        self._topics = Topics(cluster)
        self._positions = Positions(cluster)
        future = cluster.admin.describe_cluster(request_timeout=ANSWER_TIMEOUT_S)
        self._id = str(cluster.answer(future, "connecting").cluster_id)
        self._claims = root / "claims" / self._id

    @property
    def id(self) -> str:
        """See `nvisy.topics.log.Log`."""
        return self._id

    @property
    def url(self) -> str:
        """See `nvisy.topics.log.Log`."""
        return self._cluster.url

    def create(
        self, topic: str, partitions: int, *, compacted: bool = True, kept_days: int | None = None
    ) -> TopicInfo:
        """See `nvisy.topics.log.Log`. A topic made beforehand is used as it is."""
        if kept_days is not None:
            return self._topics.create(topic, partitions, expiring(kept_days))
        if compacted:
            return self._topics.create(topic, partitions)
        return self._topics.create(topic, partitions, EVENTS_SETTINGS)

    def describe(self, topic: str, *, settled: bool = False) -> TopicInfo | None:
        """See `nvisy.topics.log.Log`."""
        return self._topics.describe(topic, settled=settled)

    def topics(self) -> Sequence[str]:
        """See `nvisy.topics.log.Log`."""
        return self._topics.names()

    def delete(self, topic: str) -> None:
        """See `nvisy.topics.log.Log`."""
        self._topics.delete(topic)

    def tidy(self, topic: str, is_wanted: Callable[[], bool]) -> int:
        """See `nvisy.topics.log.Log`. Brokers do it."""
        return 0

    def expire(self, topic: str, before_ms: int, most: int) -> int:
        """See `nvisy.topics.log.Log`. Brokers do it."""
        return 0

    def erase(self, topic: str, keys: Collection[bytes]) -> Erased:
        """See `nvisy.topics.log.Log`. Brokers remove what a later record of its key has replaced when they compact."""
        counts = Counter(record.key for record in self.scan(topic) if record.key in keys)
        left = sum(counts.values()) - len(counts)
        return Erased(0, left, removal_of(self._topics.settings(topic)) if left else "")

    def session(self, seat: Seat, *, adopt: bool = False) -> KafkaSession:
        """See `nvisy.topics.log.Log`."""
        return KafkaSession(self._cluster, self._topics, seat, adopt=adopt)

    def scan(self, topic: str, start: Mapping[int, int] | None = None) -> Iterator[LogRecord]:
        """See `nvisy.topics.log.Log`."""
        return scan(self._cluster, self._topics.existing(topic), start or {})

    def read(self, topic: str, partition: int, offset: int) -> LogRecord | None:
        """See `nvisy.topics.log.Log`."""
        return read(self._cluster, self._topics.existing(topic), partition, offset)

    def claim(self, graph: str, owner: str, config: str = "") -> KafkaClaim:
        """See `nvisy.topics.log.Log`. Waits up to five seconds for the lease of a run that died elsewhere."""
        return take_lease(self._leases(graph), owner, self._claims, config=config)

    def join(self, graph: str, owner: str, config: str) -> KafkaMembership:
        """See `nvisy.topics.log.Log`."""
        return KafkaMembership(self._leases(graph), owner, config, self._claims)

    def lag(self, seat: Seat) -> Mapping[TopicPartition, tuple[int, int]]:
        """See `nvisy.topics.log.Log`."""
        infos = [self._topics.existing(topic) for topic in seat.inputs]
        places = {
            TopicPartition(info.name, p): (start, info.end[p])
            for info in infos
            for p, start in info.start.items()
        }
        committed = self._positions.committed(group_of(seat), list(places))
        return {place: (committed.get(place, start), end) for place, (start, end) in places.items()}

    def state(self, seat: Seat) -> Mapping[str, bytes]:
        """See `nvisy.topics.log.Log`."""
        return stage_state(seat, self._said_by_stages(seat.graph)).values

    def recall(self, graph: str, name: str) -> Sequence[bytes]:
        """See `nvisy.topics.log.Log`."""
        return values_named(name, self._said_by_stages(graph))

    def holder(self, graph: str) -> Holder | None:
        """See `nvisy.topics.log.Log`. A lease that is not renewed while it is watched has no holder."""
        if self._topics.describe(state_topic(check_topic_name(graph))) is None:
            return None
        return holder(self._leases(graph), self._claims)

    def close(self) -> None:
        """See `nvisy.topics.log.Log`."""
        self._positions.close()
        self._cluster.close()

    def _leases(self, graph: str) -> Leases:
        return Leases(self._cluster, self._topics, check_topic_name(graph))

    def _said_by_stages(self, graph: str) -> Mapping[bytes, LogRecord]:
        return said_by_stages(self._cluster, self._topics, graph)
