"""Where a Kafka cluster is and how to sign in to it, from `NVISY_LOG` and the variables beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nvisy.errors import UsageError

_URL = re.compile(r"kafka(?P<tls>\+ssl)?://(?P<brokers>[^/?#]+)/?")
_BROKER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:@\[\]]+):[0-9]{1,5}")
_PREFIX = "NVISY_KAFKA_"


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """A cluster.

    Attributes:
        url: How a person names it; holds no secret.
        settings: What every client of it is given; holds the password.
    """

    url: str
    settings: Mapping[str, str] = field(repr=False)


def parse_address(url: str, environ: Mapping[str, str]) -> KafkaAddress:
    """The cluster that `kafka://host:port[,host:port]` or `kafka+ssl://…` names.

    Raises:
        UsageError: The address or a variable makes no sense.
    """
    match = _URL.fullmatch(url)
    brokers = match["brokers"].split(",") if match else []
    if match is None or not all(_BROKER.fullmatch(broker) for broker in brokers):
        shown = re.sub(r"//[^/]*@", "//…@", url)
        raise UsageError(
            f"{shown!r} is no Kafka address: write kafka://host:port[,host:port] or kafka+ssl://…, "
            f"and put user and password into {_PREFIX}SASL_USERNAME and {_PREFIX}SASL_PASSWORD"
        )
    sasl = _sasl(environ)
    tls = bool(match["tls"])
    settings = {
        "bootstrap.servers": ",".join(brokers),
        "security.protocol": _protocol(tls, bool(sasl)),
        **sasl,
    }
    ca_location = environ.get(f"{_PREFIX}SSL_CA_LOCATION")
    if tls and ca_location:
        if not Path(ca_location).exists():
            raise UsageError(f"{_PREFIX}SSL_CA_LOCATION={ca_location}: there is no such file")
        settings["ssl.ca.location"] = ca_location
    return KafkaAddress(url.rstrip("/"), settings)


def _protocol(tls: bool, sasl: bool) -> str:
    if sasl:
        return "SASL_SSL" if tls else "SASL_PLAINTEXT"
    return "SSL" if tls else "PLAINTEXT"


def _sasl(environ: Mapping[str, str]) -> dict[str, str]:
    mechanism = environ.get(f"{_PREFIX}SASL_MECHANISM")
    if not mechanism:
        return {}
    username = environ.get(f"{_PREFIX}SASL_USERNAME")
    if not username:
        raise UsageError(f"{_PREFIX}SASL_MECHANISM={mechanism} needs {_PREFIX}SASL_USERNAME")
    return {
        "sasl.mechanism": mechanism,
        "sasl.username": username,
        "sasl.password": _password(environ),
    }


def _password(environ: Mapping[str, str]) -> str:
    password = environ.get(f"{_PREFIX}SASL_PASSWORD")
    path = environ.get(f"{_PREFIX}SASL_PASSWORD_FILE")
    if password is not None:
        return password
    if path is None:
        raise UsageError(f"set {_PREFIX}SASL_PASSWORD or {_PREFIX}SASL_PASSWORD_FILE beside the user's name")
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{_PREFIX}SASL_PASSWORD_FILE={path} cannot be read: {error}") from None
