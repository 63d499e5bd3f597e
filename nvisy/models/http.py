"""The one place where an HTTP client is made: for models behind an API.

Encryption is verified, redirects are not followed, credentials never travel in the clear, answers have a size and a
deadline. What goes wrong on the way is `Transient`; what an answer means is for the caller to know.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

import httpx

from nvisy.errors import Fatal, Transient

CONNECT_S = 10.0
MAX_ERROR_BYTES = 64 << 10

logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every call, otherwise


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said. `headers` are in lower case; `body` may hold anything, and stays out of a `repr`."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Endpoint:
    """One address to post to, over connections that are kept open. Any number of threads may use it at once."""

    def __init__(self, url: str, *, api_key: str | None, timeout_s: float, connections: int) -> None:
        """The address `url`.

        Args:
            url: Where to post, `https://host/v1/embeddings`.
            api_key: Sent as a bearer token.
            timeout_s: Until an answer has begun, and again until it is whole.
            connections: Calls side by side, at most.

        Raises:
            Fatal: The address is none, or the key would travel in the clear.
        """
        if fault := address_fault(url, secret=api_key is not None):
            raise Fatal(fault)
        headers = {"content-type": "application/json", "accept": "application/json"}
        if api_key is not None:
            headers["authorization"] = f"Bearer {api_key}"
        self._url = url
        self._timeout_s = timeout_s
        self._client = httpx.Client(
            headers={**headers, "accept-encoding": "identity"},
            timeout=httpx.Timeout(timeout_s, connect=min(CONNECT_S, timeout_s), pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=not is_loopback(url),  # a proxy for the world is none for this machine
        )

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self._url).netloc

    def post(self, body: bytes, *, max_bytes: int) -> Answer:
        """Post JSON.

        Args:
            body: The JSON.
            max_bytes: Longest answer that is read; one that failed is cut at 64 KiB.

        Raises:
            Transient: There is no answer, or not all of it in time, or one longer than `max_bytes`.
        """
        try:
            with self._client.stream("POST", self._url, content=body) as response:
                return Answer(response.status_code, dict(response.headers), self._read(response, max_bytes))
        except httpx.TimeoutException as error:
            raise Transient(f"{self.host} did not answer within {self._timeout_s:g} s") from error
        except (
            httpx.HTTPError,
            httpx.StreamError,
            RuntimeError,
        ) as error:  # a client closed meanwhile: RuntimeError
            raise Transient(f"{self.host} cannot be reached: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close the connections, also under calls that run. May be called twice."""
        self._client.close()

    def _read(self, response: httpx.Response, max_bytes: int) -> bytes:
        until = time.monotonic() + self._timeout_s
        parts: list[bytes] = []
        n_bytes = 0
        for part in response.iter_bytes():
            parts.append(part)
            n_bytes += len(part)
            if response.is_error and n_bytes > MAX_ERROR_BYTES:
                break
            if n_bytes > max_bytes:
                raise Transient(f"{self.host} answered with more than {max_bytes:,} bytes")
            if time.monotonic() > until:
                raise Transient(f"{self.host} did not finish its answer within {self._timeout_s:g} s")
        return b"".join(parts)


def address_fault(url: str, *, secret: bool) -> str:
    """What is wrong with an address, or nothing. `secret`: a credential will be sent there."""
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        return "baseUrl is not an address; write https://host/v1"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_sound:
        return "baseUrl is not an address; write https://host/v1"
    if parts.username or parts.password:
        return "baseUrl holds a user name or password; write it without, and give the key as apiKey"
    if secret and parts.scheme == "http" and not is_loopback(url):
        return f"the key would travel to {parts.hostname} in the clear; write https:// in baseUrl"
    return ""


def is_loopback(url: str) -> bool:
    """Whether the address is this machine's own."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
