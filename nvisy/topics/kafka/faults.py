"""What the Kafka client says when something fails, as our errors."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from nvisy.errors import DealtAnew, NvisyError, Refused, SeatTaken, Unreachable

_TAKEN_OVER = frozenset(
    {
        KafkaError._FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.PRODUCER_FENCED,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
_MOVED_ON = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
    }
)
_GAP = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})
_NO_TOPIC = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)
_NO_LEADER = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)
_NOT_ALLOWED = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)


def fault_of(error: KafkaError, doing: str, url: str) -> NvisyError:
    """The error to raise for `error`, met while `doing` something at the cluster `url`."""
    code, said = error.code(), error.str()
    if code in _TAKEN_OVER or (code == KafkaError._FATAL and "fenced" in said.lower()):
        return SeatTaken(
            f"{doing}: the seat was taken over by another process, "
            f"or left with a transaction open for too long ({said})"
        )
    if code in _MOVED_ON:
        return DealtAnew(f"{doing}: {url} dealt the stage's partitions anew ({said}): open its session again")
    if code in _GAP:
        return Refused(f"gap: {doing}: the position is no longer in the log ({said})")
    if code in _NO_TOPIC:
        return Refused(f"{doing}: the topic was deleted or made anew while it was in use ({said})")
    if code in _NOT_ALLOWED:
        return Refused(
            f"{doing}: not allowed by {url} ({said}): `nvisy explain --acls` lists the rights needed"
        )
    return Unreachable(f"{doing}: {url} does not answer as it should ({said})")


def is_missing_topic(error: KafkaError) -> bool:
    """Whether the broker says that there is no such topic."""
    return error.code() in _NO_TOPIC


def is_between_leaders(error: BaseException | None) -> bool:
    """Whether a client raised that a partition has no leader yet, or another one than it thought: ask again."""
    return isinstance(error, KafkaException) and error.args[0].code() in _NO_LEADER
