import pytest
from confluent_kafka import KafkaError, KafkaException

from nvisy.errors import DealtAnew, Refused, SeatTaken, Unreachable
from nvisy.topics.kafka.faults import fault_of, is_between_leaders


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (KafkaError._FENCED, SeatTaken, "taken over"),
        (KafkaError.FENCED_INSTANCE_ID, SeatTaken, "taken over"),
        (KafkaError.ILLEGAL_GENERATION, DealtAnew, "dealt"),
        (KafkaError.OFFSET_OUT_OF_RANGE, Refused, "gap"),
        (KafkaError._AUTO_OFFSET_RESET, Refused, "gap"),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, Refused, "deleted"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, Refused, "not allowed"),
        (KafkaError._TRANSPORT, Unreachable, "kafka://h:1"),
        (KafkaError._TIMED_OUT, Unreachable, "kafka://h:1"),
        (KafkaError._FATAL, Unreachable, "kafka://h:1"),
    ],
)
def test_what_the_client_says_becomes_one_of_our_errors(code, kind, words):
    fault = fault_of(KafkaError(code), "committing", "kafka://h:1")
    assert type(fault) is kind
    assert words in str(fault)
    assert "committing" in str(fault)


def test_only_a_partition_between_leaders_is_asked_again():
    assert is_between_leaders(KafkaException(KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)))
    assert is_between_leaders(KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)))
    assert not is_between_leaders(KafkaException(KafkaError(KafkaError._TRANSPORT)))
    assert not is_between_leaders(TimeoutError())
    assert not is_between_leaders(None)
