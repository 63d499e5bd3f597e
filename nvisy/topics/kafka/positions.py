"""How far the groups of stages have come, asked from outside, without joining them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import TopicPartition as KafkaPartition

from nvisy.topics.kafka.cluster import ANSWER_TIMEOUT_S, Cluster
from nvisy.topics.kafka.faults import fault_of
from nvisy.topics.log import TopicPartition

_STABLE_TIMEOUT_S = 1.0


class Positions:
    """Asks for committed positions, with a client for each group.

    A request of the admin client would do with one for all. But librdkafka ends the whole process, by an assertion,
    when the connection breaks under an admin request that goes to a group's coordinator (its issues 3663 and 4605).
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._clients: dict[tuple[str, str], Consumer] = {}

    def committed(self, group: str, places: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Committed offset of these places, as far as there is one.

        What a transaction that is under way brings is waited for a second, for a dead process may have left it behind.

        Raises:
            Unreachable: The group's coordinator does not answer.
        """
        try:
            found = self._asked(group, places, "read_committed", _STABLE_TIMEOUT_S)
        except KafkaException:
            try:
                found = self._asked(group, places, "read_uncommitted", ANSWER_TIMEOUT_S)
            except KafkaException as error:
                raise self._cluster.fault(error, f"asking for the positions of {group!r}") from error
        for place in found:
            if place.error is not None:
                raise fault_of(place.error, f"asking for the positions of {group!r}", self._cluster.url)
        return {
            TopicPartition(place.topic, place.partition): place.offset for place in found if place.offset >= 0
        }

    def close(self) -> None:
        """Let go of the clients; they are made again when they are needed."""
        self._clients = {}

    def _asked(
        self, group: str, places: Sequence[TopicPartition], isolation: str, timeout_s: float
    ) -> list[KafkaPartition]:
        key = (group, isolation)
        if key not in self._clients:
            self._clients[key] = self._cluster.consumer({"group.id": group, "isolation.level": isolation})
        try:
            return self._clients[key].committed(
                [KafkaPartition(*place) for place in places], timeout=timeout_s
            )
        except KafkaException:
            del self._clients[key]  # one that has lost its broker may not find it again
            raise
