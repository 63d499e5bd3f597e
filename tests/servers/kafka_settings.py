"""The settings of the test broker: one node, small, quick to notice, with the limits the product needs."""

from dataclasses import dataclass
from pathlib import Path

_MAX_MESSAGE_BYTES = 17 * 2**20

_FIXED = f"""\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT

num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

auto.create.topics.enable=false
delete.topic.enable=true
message.max.bytes={_MAX_MESSAGE_BYTES}
replica.fetch.max.bytes={_MAX_MESSAGE_BYTES}

broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
transaction.abort.timed.out.transaction.cleanup.interval.ms=500
log.cleaner.backoff.ms=500
log.cleaner.dedupe.buffer.size=16777216
log.index.size.max.bytes=1048576
file.delete.delay.ms=100

ssl.keystore.type=PEM
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
"""


@dataclass(frozen=True)
class Ports:
    """The loopback ports of one broker."""

    plain: int
    sasl: int
    controller: int


def server_properties(
    ports: Ports, *, bind: str, logs: str, keystore: str, owner: tuple[str, str], guest: tuple[str, str]
) -> str:
    """The text of a `server.properties`.

    Args:
        ports: where clients reach the broker on 127.0.0.1.
        bind: the address to listen on: the loopback, or every address inside a container.
        logs: the folder of the topics.
        keystore: the PEM file with the key and certificate of the SASL_SSL listener.
        owner: user and password that may do everything. So may whoever comes by the plain listener.
        guest: user and password that may do nothing until an ACL allows it.
    """
    listeners = {"PLAINTEXT": ports.plain, "SASL_SSL": ports.sasl, "CONTROLLER": ports.controller}
    public = {"PLAINTEXT": ports.plain, "SASL_SSL": ports.sasl}
    users = " ".join(f'user_{user}="{password}"' for user, password in (owner, guest))
    plain_login = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
    return _FIXED + "\n".join(
        [
            "listeners=" + ",".join(f"{name}://{bind}:{port}" for name, port in listeners.items()),
            "advertised.listeners=" + ",".join(f"{name}://127.0.0.1:{port}" for name, port in public.items()),
            f"controller.quorum.voters=1@127.0.0.1:{ports.controller}",
            f"log.dirs={logs}",
            f"ssl.keystore.location={keystore}",
            f"super.users=User:ANONYMOUS;User:{owner[0]}",
            f"listener.name.sasl_ssl.plain.sasl.jaas.config={plain_login}",
            "",
        ]
    )


def write_certificate(keystore: Path, ca: Path) -> None:
    """Writes a throw-away certificate of the loopback: the broker's key store and the CA clients trust."""
    import trustme
    from cryptography.hazmat.primitives import serialization

    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), password=None)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,  # the only one the broker reads
        serialization.NoEncryption(),
    )
    keystore.write_bytes(key_pem + b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    authority.cert_pem.write_to_path(ca)
