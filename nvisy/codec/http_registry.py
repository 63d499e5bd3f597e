"""A schema registry over HTTP, as Confluent defined it and Redpanda, Karapace and Apicurio speak it."""

from __future__ import annotations

import ipaddress
import time
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from nvisy.codec.framing import SchemaRef
from nvisy.codec.safety import MAX_SCHEMA_CHARS
from nvisy.errors import CodecError, UnknownSchema, Unreachable, UsageError

_TIMEOUT_S = 10.0
_MAX_REDIRECTS = 3
_MAX_CACHED = 4096
_UNKNOWN_FOR_S = 10.0
_MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"


class HttpRegistry:
    """A registry at a URL. Every schema is asked for once."""

    def __init__(self, url: str, *, user: str = "", password: str = "") -> None:
        """A registry at `url`; nothing is sent before the first schema is needed.

        Raises:
            UsageError: The URL is not one, or a password would travel in the clear.
        """
        try:
            base = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise UsageError(f"NVISY_REGISTRY_URL is not a URL: {error}") from None
        user, password = user or base.username, password or base.password
        base = base.copy_with(username=None, password=None)
        self.url = str(base).rstrip("/")
        if base.scheme not in ("http", "https") or not base.host:
            raise UsageError("NVISY_REGISTRY_URL is http://host:port or https://host")
        if user and base.scheme == "http" and not _is_loopback(base.host):
            raise UsageError(
                f"the registry {self.url} would get its password in the clear; use https, or leave out "
                "NVISY_REGISTRY_USER and NVISY_REGISTRY_PASSWORD"
            )
        self._origin = (base.scheme, base.host, base.port)
        self._client = httpx.Client(
            auth=(user, password) if user else None,
            timeout=_TIMEOUT_S,
            headers={"Accept": f"{_MEDIA_TYPE}, application/json"},
            trust_env=not _is_loopback(base.host),
        )
        self._ids: dict[tuple[str, str], int] = {}
        self._schemas: dict[SchemaRef, str] = {}
        self._unknown: dict[SchemaRef, float] = {}

    def register(self, subject: str, schema: str) -> int:
        """The number of `schema` under `subject`; see `Registry`."""
        known = self._ids.get((subject, schema))
        if known is None:
            known = self._register(quote(subject, safe=""), schema)
            self._ids[subject, schema] = known
        return known

    def schema(self, ref: SchemaRef) -> str:
        """The schema that a message names; see `Registry`."""
        known = self._schemas.get(ref)
        if known is None:
            known = self._fetch(ref)
            if len(self._schemas) >= _MAX_CACHED:
                self._schemas.clear()
            self._schemas[ref] = known
        return known

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._client.close()

    def _register(self, subject: str, schema: str) -> int:
        # A registry that is managed by others may refuse to have its rules changed: then its own rules hold.
        self._call("PUT", f"/config/{subject}", {"compatibility": "BACKWARD_TRANSITIVE"})
        status, answer = self._call("POST", f"/subjects/{subject}/versions", {"schema": schema})
        if status == httpx.codes.FORBIDDEN:
            # It may still know the schema, registered by somebody who is allowed to.
            status, answer = self._call("POST", f"/subjects/{subject}", {"schema": schema})
        if status == httpx.codes.OK and isinstance(answer.get("id"), int):
            return int(answer["id"])
        if status in (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY):
            raise CodecError(
                f"the registry {self.url} refuses the schema for {subject}: {_message(answer)}; give new fields a "
                "default and keep the old ones, or write to another topic"
            )
        raise self._refusal(f"register a schema for {subject}", status, answer)

    def _fetch(self, ref: SchemaRef) -> str:
        if time.monotonic() < self._unknown.get(ref, 0.0):
            raise UnknownSchema(f"schema {ref} is not in the registry {self.url}")
        path = f"/schemas/ids/{ref}" if isinstance(ref, int) else f"/schemas/guids/{ref}"
        status, answer = self._call("GET", path)
        if status == httpx.codes.NOT_FOUND:
            # Asked again after a while: replicas of a registry learn of new schemas at their own pace.
            if len(self._unknown) >= _MAX_CACHED:
                self._unknown.clear()
            self._unknown[ref] = time.monotonic() + _UNKNOWN_FOR_S
            raise UnknownSchema(f"schema {ref} is not in the registry {self.url}")
        if status != httpx.codes.OK:
            raise self._refusal(f"give schema {ref}", status, answer)
        kind = answer.get("schemaType", "AVRO")
        if kind != "AVRO" or answer.get("references") or not isinstance(answer.get("schema"), str):
            raise CodecError(
                f"schema {ref} of the registry {self.url} is not a self-contained Avro schema ({kind})"
            )
        return str(answer["schema"])

    def _refusal(self, what: str, status: int, answer: dict[str, Any]) -> Unreachable:
        hint = ""
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            hint = "; look at NVISY_REGISTRY_USER and NVISY_REGISTRY_PASSWORD"
        return Unreachable(f"the registry {self.url} does not {what}: HTTP {status} {_message(answer)}{hint}")

    def _call(self, method: str, path: str, body: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        url = httpx.URL(self.url + path)
        content = None if body is None else orjson.dumps(body)
        for _ in range(_MAX_REDIRECTS):
            status, data, target = self._send(method, url, content)
            if target is None:
                return status, _object(data)
            url = url.join(target)
            if (url.scheme, url.host, url.port) != self._origin:
                raise Unreachable(
                    f"the registry {self.url} redirects to {url.host}; redirects to others are refused"
                )
        raise Unreachable(f"the registry {self.url} redirects in circles")

    def _send(self, method: str, url: httpx.URL, content: bytes | None) -> tuple[int, bytes, str | None]:
        headers = {} if content is None else {"Content-Type": _MEDIA_TYPE}
        try:
            with self._client.stream(method, url, content=content, headers=headers) as response:
                data = bytearray()
                for part in response.iter_bytes():
                    data += part
                    if len(data) > 2 * MAX_SCHEMA_CHARS:
                        raise CodecError(
                            f"the registry {self.url} answers with more than {MAX_SCHEMA_CHARS} bytes"
                        )
                target = response.headers.get("location") if response.is_redirect else None
                return response.status_code, bytes(data), target
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"the registry {self.url} does not answer: {reason}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _object(data: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _message(answer: dict[str, Any]) -> str:
    return str(answer.get("message", ""))[:500]
