"""What is asked of a cluster about its topics, where the cluster is in the middle of something."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from nvisy.errors import Unreachable
from nvisy.topics.kafka.address import KafkaAddress
from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.kafka.topics import Topics


class Admin:
    """Describes one topic of one partition, and answers for its offsets what it is given, then 7."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)
        self.asked = 0

    def describe_topics(self, wanted: Any, **_: Any) -> dict[str, Future[Any]]:
        return {"t": _done(SimpleNamespace(partitions=[None], topic_id="id"))}

    def list_offsets(self, places: dict[Any, Any], **_: Any) -> dict[Any, Future[Any]]:
        self.asked += 1
        failure = KafkaException(KafkaError(self._errors.pop())) if self._errors else None
        return {place: _done(SimpleNamespace(offset=7), failure) for place in places}


def _done(result: Any, failure: Exception | None = None) -> Future[Any]:
    future: Future[Any] = Future()
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
    return future


def topics(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> Topics:
    monkeypatch.setattr(Cluster, "admin", admin)
    return Topics(Cluster(KafkaAddress("kafka://127.0.0.1:9", {})))


def test_a_partition_between_leaders_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION)
    info = topics(admin, monkeypatch).describe("t")
    assert info is not None
    assert info.end == {0: 7}


def test_another_fault_is_raised_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = Admin(KafkaError._TRANSPORT)
    with pytest.raises(Unreachable, match="asking for the offsets of topic 't'"):
        topics(admin, monkeypatch).describe("t")
    assert admin.asked == 3, "one round, of three kinds"
