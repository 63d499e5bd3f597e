"""Signing in, finding nobody there, and topics that others have made."""

import subprocess
import sys
import time

import pytest
from confluent_kafka import TopicPartition as KafkaPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from nvisy.errors import Refused, Rejected, Unreachable
from nvisy.topics.log import Append, Seat, TopicPartition
from nvisy.topics.open import open_log
from tests.topics.drive import drain, numbers, reader, records, until, write, writer

pytestmark = pytest.mark.kafka

_NOBODY = "127.0.0.1:9"


def _environ(kafka, user: str, mechanism: str = "PLAIN") -> dict[str, str]:
    return {
        "NVISY_KAFKA_SASL_MECHANISM": mechanism,
        "NVISY_KAFKA_SASL_USERNAME": user,
        "NVISY_KAFKA_SASL_PASSWORD": kafka.password,
        "NVISY_KAFKA_SSL_CA_LOCATION": str(kafka.ca_path),
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_cluster_behind_sasl_and_tls_works_like_any_other(kafka, tmp_path, unique_name, mechanism):
    environ = _environ(kafka, kafka.user, mechanism)
    log = open_log(f"kafka+ssl://{kafka.sasl_bootstrap}", root=tmp_path, environ=environ)
    log.create(unique_name, 2)
    write(log, writer(unique_name, unique_name), records(unique_name, range(5)))
    assert numbers(drain(log, log.session(reader(unique_name, unique_name)), unique_name)) == list(range(5))


def test_a_password_may_come_from_a_file(kafka, tmp_path):
    environ = _environ(kafka, kafka.user)
    (tmp_path / "password").write_text(environ.pop("NVISY_KAFKA_SASL_PASSWORD") + "\n")
    environ["NVISY_KAFKA_SASL_PASSWORD_FILE"] = str(tmp_path / "password")
    assert open_log(f"kafka+ssl://{kafka.sasl_bootstrap}", root=tmp_path, environ=environ).id


def test_a_wrong_password_is_told_apart_from_a_silent_broker_and_is_not_shown(kafka, tmp_path):
    environ = _environ(kafka, kafka.user) | {"NVISY_KAFKA_SASL_PASSWORD": "wrong-secret"}
    with pytest.raises(Unreachable, match="Authentication failed") as caught:
        open_log(f"kafka+ssl://{kafka.sasl_bootstrap}", root=tmp_path, environ=environ)
    assert "wrong-secret" not in str(caught.value)


def test_an_address_where_nobody_listens_is_named_within_seconds_and_nothing_else_is_printed(tmp_path):
    script = (
        "import sys, pathlib\n"
        "from nvisy.errors import Unreachable\n"
        "from nvisy.topics.open import open_log\n"
        "try:\n"
        f"    open_log('kafka://{_NOBODY}', root=pathlib.Path(sys.argv[1]), environ={{}})\n"
        "except Unreachable as error:\n"
        "    print(error)\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert time.monotonic() - began < 15
    assert _NOBODY in done.stdout
    assert done.stderr == ""


@pytest.fixture
def restricted(kafka, kafka_url, tmp_path, unique_name):
    """The log as a user who may use the topics made for it, and make none."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(f"{unique_name}.t", 2, 1)])[f"{unique_name}.t"].result()
    rights = [
        (ResourceType.TOPIC, unique_name, AclOperation.READ),
        (ResourceType.TOPIC, unique_name, AclOperation.WRITE),
        (ResourceType.TOPIC, unique_name, AclOperation.DESCRIBE),
        (ResourceType.GROUP, "nvisy.", AclOperation.READ),
        (ResourceType.TRANSACTIONAL_ID, "nvisy.", AclOperation.WRITE),
        (ResourceType.TRANSACTIONAL_ID, "nvisy.", AclOperation.DESCRIBE),
    ]
    bindings = [
        AclBinding(
            kind,
            name,
            ResourcePatternType.PREFIXED,
            f"User:{kafka.guest}",
            "*",
            operation,
            AclPermissionType.ALLOW,
        )
        for kind, name, operation in rights
    ]
    for future in admin.create_acls(bindings).values():
        future.result()
    environ = _environ(kafka, kafka.guest)
    return open_log(f"kafka+ssl://{kafka.sasl_bootstrap}", root=tmp_path, environ=environ)


def test_a_topic_made_beforehand_is_used_where_creating_is_not_allowed(restricted, unique_name):
    topic = f"{unique_name}.t"
    assert restricted.create(topic, 2).partitions == 2
    write(restricted, writer(unique_name, topic), records(topic, range(3)))
    session = restricted.session(reader(unique_name, topic))
    assert numbers(drain(restricted, session, topic)) == [0, 1, 2]
    session.close()


def test_a_topic_that_is_missing_and_may_not_be_made_is_named(restricted, unique_name):
    with pytest.raises(Refused, match="may not be created"):
        restricted.create(f"{unique_name}.other", 3)


def test_a_record_larger_than_a_foreign_topic_takes_is_rejected_before_it_is_sent(restricted, unique_name):
    topic = f"{unique_name}.t"
    session = restricted.session(Seat(unique_name, "w", "c", (), (topic,)))
    with pytest.raises(Rejected, match="does not fit"):
        session.append([Append(topic, 0, b"k", bytes(2 * 1024 * 1024))])
    session.append(records(topic, [1]))
    session.commit({})
    session.close()


def test_partitions_added_while_a_stage_runs_end_its_session_and_are_read_in_the_next(
    kafka, kafka_url, tmp_path, unique_name
):
    log = open_log(kafka_url, root=tmp_path, environ={})
    log.create(unique_name, 1)
    session = log.session(reader(unique_name, unique_name))
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_partitions([NewPartitions(unique_name, 2)])[unique_name].result()
    write(log, writer(unique_name, unique_name), records(unique_name, [7], partition=1))
    with pytest.raises(Unreachable, match="open it again"):
        until(lambda: session.poll(10, 0.5))
    session.close()
    again = log.session(reader(unique_name, unique_name))
    assert numbers(drain(log, again, unique_name)) == [7]
    again.close()


def test_records_that_were_removed_before_they_were_read_are_a_gap(kafka, kafka_url, tmp_path, unique_name):
    log = open_log(kafka_url, root=tmp_path, environ={})
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    admin.create_topics([NewTopic(unique_name, 1, 1)])[unique_name].result()
    write(log, writer(unique_name, unique_name), records(unique_name, range(10)))
    session = log.session(reader(unique_name, unique_name))
    drain(log, session, unique_name)
    session.commit({TopicPartition(unique_name, 0): 3})
    session.close()
    admin.delete_records([KafkaPartition(unique_name, 0, 5)])[KafkaPartition(unique_name, 0)].result()
    with pytest.raises(Refused, match="gap"):
        log.session(reader(unique_name, unique_name))
    fresh = log.session(reader(unique_name, unique_name, stage="fresh"))
    assert fresh.positions() == {TopicPartition(unique_name, 0): 5}
    assert numbers(drain(log, fresh, unique_name)) == [5, 6, 7, 8, 9]
    fresh.close()
