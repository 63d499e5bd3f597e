"""Opening the log that `NVISY_LOG` names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nvisy.errors import UsageError
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Log

SCHEMES = ("kafka://", "kafka+ssl://")


def open_log(url: str | None, *, root: Path, environ: Mapping[str, str]) -> Log:
    """The log at `url`: `kafka://host:port[,host:port]`, `kafka+ssl://…`; None is the embedded one in `root`.

    Args:
        url: Where the log is.
        root: Folder of the embedded log; with Kafka, of the locks that tell when a run of this machine died.
        environ: Where `NVISY_KAFKA_SASL_MECHANISM`, `_SASL_USERNAME`, `_SASL_PASSWORD`,
            `_SASL_PASSWORD_FILE` and `_SSL_CA_LOCATION` are looked up.

    Raises:
        UsageError: The address or a setting makes no sense.
        Unreachable: No broker answers within ten seconds.
    """
    if not url:
        return EmbeddedLog(root)
    if not url.startswith(SCHEMES):
        raise UsageError(f"NVISY_LOG={url!r} names no log: use kafka://host:port or leave it unset")
    from nvisy.topics.kafka import connect_kafka  # noqa: PLC0415 - the driver is loaded only where it is used

    return connect_kafka(url, root=root, environ=environ)
