"""`python -m tests.servers` fetches what the servers need, so that no test waits for a download."""

from tests.servers import kafka, postgres
from tests.servers.kafka_jars import kafka_jars
from tests.servers.runner import use_docker

if not use_docker(kafka.IMAGE):
    kafka_jars()
use_docker(postgres.IMAGE)
