"""The real servers the tests run against: Apache Kafka, and Postgres with pgvector.

The suite starts them by itself, on loopback, at their first use. Everything a server needs lies in one
folder, its pid or container id included, so any process of the test session may talk to it, kill it or start
it again:

    session.py          the folder of one test session, shared by all pytest-xdist workers
    guard.py            stops what is left when the session ends, however it ends
    runner.py           the two ways to run a server: a process of this machine, or a container
    kafka.py            `KafkaServer`       (kafka_settings.py, kafka_jars.py)
    postgres.py         `PostgresServer`    (postgres_binaries.py)
    fixtures.py         the pytest fixtures
"""
