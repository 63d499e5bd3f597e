"""A real Apache Kafka: one KRaft node on the loopback."""

import json
import secrets
import time
from pathlib import Path
from typing import Self

from tests.servers.kafka_jars import VERSION, kafka_jars
from tests.servers.kafka_settings import Ports, server_properties, write_certificate
from tests.servers.runner import Container, LocalProcess, Runner, run_to_end, use_docker
from tests.servers.session import free_ports

IMAGE = f"apache/kafka:{VERSION}"
_CLUSTER_ID = "bnZpc3ktdGVzdC1icm9rZQ"
_JVM = [
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # up in half the time
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
]


class KafkaServer:
    """One broker with its data in `folder`.

    It keeps its data and its ports when it is stopped, killed and started again.

    Attributes:
        bootstrap: `host:port` of the plain listener, where everything is allowed.
        sasl_bootstrap: `host:port` of the SASL_SSL listener (PLAIN and SCRAM-SHA-512).
        ca_path: the CA file a client of the SASL_SSL listener has to trust.
        user: who may do everything on the SASL_SSL listener.
        guest: who may do nothing there until an ACL allows it.
        password: the password of both.
    """

    user = "nvisy"
    guest = "guest"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        identity = folder / "broker.json"
        if not identity.exists():
            identity.write_text(json.dumps({"ports": free_ports(3), "password": secrets.token_urlsafe(12)}))
        known = json.loads(identity.read_text())
        self._ports = Ports(*known["ports"])
        self.password: str = known["password"]
        self.bootstrap = f"127.0.0.1:{self._ports.plain}"
        self.sasl_bootstrap = f"127.0.0.1:{self._ports.sasl}"
        self.ca_path = folder / "ca.pem"
        self._keystore = folder / "server.pem"
        self._properties = folder / "server.properties"
        self._scram = [
            f"--add-scram=SCRAM-SHA-512=[name={user},password={self.password}]"
            for user in (self.user, self.guest)
        ]
        self._runner: Runner = self._container() if use_docker(IMAGE) else self._process()

    def start(self, timeout_s: float = 180) -> Self:
        """Starts the broker and waits until it answers."""
        if not self._properties.exists():
            self._prepare()
        self._runner.start()
        self._wait(timeout_s)
        return self

    def stop(self) -> None:
        """Shuts the broker down in an orderly way; its data stay."""
        self._runner.stop()

    def kill(self) -> None:
        """Ends the broker with SIGKILL; its data stay as they are."""
        self._runner.kill()

    def restart(self) -> None:
        """Shuts the broker down and starts it again."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Ends the broker for good."""
        self._runner.remove()

    def is_running(self) -> bool:
        """Whether the broker's process is there."""
        return self._runner.is_running()

    def _prepare(self) -> None:
        write_certificate(self._keystore, self.ca_path)
        inside = use_docker(IMAGE)
        text = server_properties(
            self._ports,
            bind="0.0.0.0" if inside else "127.0.0.1",
            logs="/tmp/topics" if inside else str(self.folder / "topics"),
            keystore="/etc/nvisy/server.pem" if inside else str(self._keystore),
            owner=(self.user, self.password),
            guest=(self.guest, self.password),
        )
        self._properties.write_text(text)
        if not inside:
            self._format()

    def _java(self, main_class: str) -> list[str]:
        return ["java", *_JVM, "-cp", f"{kafka_jars()}/*", main_class]

    def _format(self) -> None:
        arguments = ["format", "-t", _CLUSTER_ID, "-c", str(self._properties), *self._scram]
        run_to_end([*self._java("kafka.tools.StorageTool"), *arguments], timeout_s=60)

    def _process(self) -> Runner:
        return LocalProcess(self.folder, [*self._java("kafka.Kafka"), str(self._properties)])

    def _container(self) -> Runner:
        scram = " ".join(f"'{option}'" for option in self._scram)
        script = (
            "cd /opt/kafka/bin && ./kafka-storage.sh format --ignore-formatted"
            f" -t {_CLUSTER_ID} -c /etc/nvisy/server.properties {scram}"
            " && exec ./kafka-server-start.sh /etc/nvisy/server.properties"
        )
        return Container(
            self.folder,
            IMAGE,
            command=["sh", "-c", script],
            ports=[self._ports.plain, self._ports.sasl],
            env={"KAFKA_HEAP_OPTS": "-Xmx512m"},
            mounts={
                self._properties: "/etc/nvisy/server.properties",
                self._keystore: "/etc/nvisy/server.pem",
            },
        )

    def _wait(self, timeout_s: float) -> None:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                admin.list_topics(timeout=0.5)
            except KafkaException:
                if time.monotonic() > deadline or not self.is_running():
                    log = self._runner.last_words()
                    raise RuntimeError(f"no Kafka on {self.bootstrap}; its log ends with:\n{log}") from None
            else:
                return
