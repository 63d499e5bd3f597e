import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer

pytestmark = pytest.mark.timeout(180)


def make_topic(settings: dict[str, str], topic: str, partitions: int = 1) -> None:
    admin = AdminClient(settings)
    admin.create_topics([NewTopic(topic, partitions)])[topic].result(timeout=10)


def write_in_transactions(bootstrap: str, topic: str, *, committed: str, aborted: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic})
    producer.init_transactions(10)
    producer.begin_transaction()
    producer.produce(topic, aborted.encode())
    producer.flush(10)
    producer.abort_transaction(10)
    producer.begin_transaction()
    producer.produce(topic, committed.encode())
    producer.commit_transaction(10)


def read_committed(bootstrap: str, topic: str, count: int) -> list[str]:
    settings = {"bootstrap.servers": bootstrap, "group.id": topic, "auto.offset.reset": "earliest"}
    consumer = Consumer({**settings, "isolation.level": "read_committed", "enable.auto.commit": False})
    try:
        consumer.subscribe([topic])
        messages = consumer.consume(count, timeout=20)
        return [(message.value() or b"").decode() for message in messages]
    finally:
        consumer.close()


def sasl(kafka: KafkaServer, user: str, mechanism: str) -> dict[str, str]:
    return {
        "bootstrap.servers": kafka.sasl_bootstrap,
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": kafka.password,
        "ssl.ca.location": str(kafka.ca_path),
    }


@pytest.mark.kafka
def test_kafka_delivers_what_a_transaction_committed_and_not_what_it_aborted(
    kafka: KafkaServer, unique_name: str
):
    make_topic({"bootstrap.servers": kafka.bootstrap}, unique_name)
    write_in_transactions(kafka.bootstrap, unique_name, committed="kept", aborted="dropped")
    assert read_committed(kafka.bootstrap, unique_name, 1) == ["kept"]


@pytest.mark.kafka
def test_kafka_makes_no_topic_that_nobody_asked_for(kafka: KafkaServer, unique_name: str):
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.timeout.ms": 1000})
    errors: list[KafkaError | None] = []
    producer.produce(unique_name, b"lost", on_delivery=lambda error, _: errors.append(error))
    producer.flush(10)
    assert errors[0] is not None
    assert (
        unique_name not in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
    )


@pytest.mark.kafka
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_the_owner_may_make_topics_over_sasl_ssl(kafka: KafkaServer, unique_name: str, mechanism: str):
    make_topic(sasl(kafka, kafka.user, mechanism), unique_name)


@pytest.mark.kafka
def test_the_guest_may_do_only_what_an_acl_allows(kafka: KafkaServer, unique_name: str):
    with pytest.raises(KafkaException, match="TOPIC_AUTHORIZATION_FAILED"):
        make_topic(sasl(kafka, kafka.guest, "PLAIN"), unique_name)
    allow = AclBinding(
        ResourceType.TOPIC,
        unique_name,
        ResourcePatternType.LITERAL,
        f"User:{kafka.guest}",
        "*",
        AclOperation.CREATE,
        AclPermissionType.ALLOW,
    )
    owner = AdminClient({"bootstrap.servers": kafka.bootstrap})
    owner.create_acls([allow])[allow].result(timeout=10)
    make_topic(sasl(kafka, kafka.guest, "PLAIN"), unique_name)


@pytest.mark.kafka
def test_a_killed_kafka_keeps_its_data_and_its_address(own_kafka: KafkaServer):
    make_topic({"bootstrap.servers": own_kafka.bootstrap}, "docs")
    write_in_transactions(own_kafka.bootstrap, "docs", committed="kept", aborted="dropped")
    own_kafka.kill()
    assert not own_kafka.is_running()
    own_kafka.start()
    assert read_committed(own_kafka.bootstrap, "docs", 1) == ["kept"]


@pytest.mark.postgres
def test_postgres_finds_the_nearest_vector(pg_dsn: str):
    with psycopg.connect(pg_dsn) as connection:
        connection.execute("CREATE TABLE chunks (text text, vector vector(3))")
        connection.execute("CREATE INDEX ON chunks USING hnsw (vector vector_cosine_ops)")
        connection.execute("INSERT INTO chunks VALUES ('near', '[1,0,0]'), ('far', '[0,1,0]')")
        row = connection.execute(
            "SELECT text FROM chunks ORDER BY vector <=> '[0.9,0.1,0]' LIMIT 1"
        ).fetchone()
    assert row == ("near",)


@pytest.mark.postgres
def test_every_test_has_a_database_of_its_own(postgres: PostgresServer, pg_dsn: str):
    assert postgres.create_database() != pg_dsn
    with psycopg.connect(pg_dsn) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


@pytest.mark.postgres
def test_a_killed_postgres_keeps_what_was_committed(own_postgres: PostgresServer):
    dsn = own_postgres.create_database()
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept (n int)")
    own_postgres.kill()
    assert not own_postgres.is_running()
    own_postgres.start()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
