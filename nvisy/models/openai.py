"""`openai/NAME`: an embedding model behind the API that OpenAI, vLLM, TEI, Ollama and others speak."""

from __future__ import annotations

import binascii
import email.utils
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import Field, SecretStr

from nvisy.connector.descriptor import ModelDescriptor, Params
from nvisy.connector.model import Embedded
from nvisy.errors import Fatal, Rejected, Transient

NAME = "openai"
OPENAI_URL = "https://api.openai.com/v1"
MAX_BATCH = 2048
MAX_IN_FLIGHT = 256

_DIMENSIONS: Mapping[str, int] = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "BAAI/bge-small-en-v1.5": 384,
    "BAAI/bge-base-en-v1.5": 768,
    "BAAI/bge-large-en-v1.5": 1024,
    "BAAI/bge-m3": 1024,
    "Qwen/Qwen3-Embedding-0.6B": 1024,
    "intfloat/multilingual-e5-large": 1024,
    "intfloat/multilingual-e5-large-instruct": 1024,
    "nomic-ai/nomic-embed-text-v1.5": 768,
    "sentence-transformers/all-MiniLM-L6-v2": 384,
    "all-minilm": 384,
    "bge-m3": 1024,
    "mxbai-embed-large": 1024,
    "nomic-embed-text": 768,
}
"""Lengths of the vectors of well-known models, by the names that servers give them."""
_SHORTENED = ("text-embedding-3-small", "text-embedding-3-large")
_PROBE = "A short sentence that any model can embed."
_SAID_CHARS = 200
_QUOTE_CHARS = 20
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_ADVICE = {
    401: "the key is missing or wrong; see the connection's apiKey",
    403: "the key may not use {model}; see the connection's apiKey",
    404: "it has no model {model}, or baseUrl is wrong (most end in /v1)",
}
_NO_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class OpenAIParams(Params):
    """Parameters of `openai/NAME`, which a connection holds. `dimensions` is the node's to say."""

    model: str = Field(
        min_length=1, description="Name of the model at the server; the rest of `openai/NAME`."
    )
    base_url: str = Field(
        OPENAI_URL, alias="baseUrl", description="Address of the API; `/embeddings` is added."
    )
    api_key: SecretStr | None = Field(
        None, alias="apiKey", description="Key of the API; none for a server that asks for none."
    )
    dimensions: int | None = Field(None, ge=1, le=65536, description="Length of the vectors.")
    timeout_ms: int = Field(
        60_000, ge=1, alias="timeoutMs", description="Longest wait for an answer; a node may say otherwise."
    )
    revision: str = Field(
        "1",
        pattern=r"^[\w.-]{1,64}$",
        description="To be changed when the server's model of this name is another.",
    )


class Answering(Protocol):
    """An answer of the server: `nvisy.models.http.Answer`."""

    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def body(self) -> bytes: ...  # noqa: D102


class Posting(Protocol):
    """Where to post: `nvisy.models.http.Endpoint`."""

    @property
    def host(self) -> str: ...  # noqa: D102
    def post(self, body: bytes, *, max_bytes: int) -> Answering: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class OpenAIModel:
    """Embeds by `POST {baseUrl}/embeddings`. Any number of threads may call it at once.

    Vectors are asked for as base64, which is read five times faster than numbers; a server that does not know the
    field is asked without, and one that ignores it is understood. A length is asked for only where the server's own
    is another. Everything of an answer is checked before it is believed.
    """

    cached = True
    max_batch = MAX_BATCH
    max_in_flight = MAX_IN_FLIGHT

    def __init__(self, params: OpenAIParams, endpoint: Posting) -> None:
        self.name = f"{NAME}/{params.model}"
        self.revision = params.revision
        self.dimensions = dimensions_of(params)
        self._model = params.model
        self._key = params.api_key.get_secret_value() if params.api_key else ""
        self._endpoint = endpoint
        self._base64 = True
        self._shorten = params.model in _SHORTENED and self.dimensions != _DIMENSIONS[params.model]
        self._refused_alone = False
        self._lock = threading.Lock()

    def embed(self, texts: Sequence[str]) -> Embedded:
        """Vectors for `texts`, with the tokens that the server says they cost."""
        try:
            embedded = self._embed(texts)
        except Rejected:
            if len(texts) == 1:
                self._prove_that_others_pass()
            raise
        self._refused_alone = False
        return embedded

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    def _prove_that_others_pass(self) -> None:
        """Before a second text in a row is blamed: a server that refuses everything has another fault."""
        with self._lock:
            if self._refused_alone:
                try:
                    self._embed([_PROBE])
                except Rejected as rejected:
                    raise Fatal(
                        f"{self._endpoint.host} refuses every text, so it is no text's fault: {rejected}"
                    ) from rejected
            self._refused_alone = True

    def _embed(self, texts: Sequence[str]) -> Embedded:
        base64_, shorten = self._base64, self._shorten
        body: dict[str, Any] = {"model": self._model, "input": [_encodable(text) for text in texts]}
        if base64_:
            body["encoding_format"] = "base64"
        if shorten:
            body["dimensions"] = self.dimensions
        max_bytes = (1 << 20) + len(texts) * self.dimensions * 40
        answer = self._endpoint.post(orjson.dumps(body), max_bytes=max_bytes)
        if answer.status == 200:
            embedded = self._read(answer.body, len(texts))
            if embedded.vectors.shape[1] == self.dimensions:
                return embedded
            self._ask_for_the_length(embedded.vectors.shape[1], shorten)
        elif base64_ and answer.status in (400, 422) and b"encoding_format" in answer.body:
            self._base64 = False
        else:
            raise self._failure(answer, texts)
        return self._embed(texts)

    def _ask_for_the_length(self, got: int, was_asked: bool) -> None:
        if was_asked or got < self.dimensions:
            raise Fatal(
                f"{self._endpoint.host} answers with vectors of {got} numbers for {self._model}, and the graph says "
                f'{self.dimensions}; give the embed node "dimensions": {got}'
            )
        self._shorten = True

    def _read(self, body: bytes, count: int) -> Embedded:
        try:
            value = orjson.loads(body)
            vectors = _vectors(value["data"], count)
        except (ValueError, TypeError, KeyError, AttributeError, binascii.Error) as error:
            # Cut short, or a proxy's page: another answer may be whole.
            reason = str(error) if isinstance(error, _MisshapenError) else "it is not an answer of this API"
            raise Transient(f"{self._endpoint.host} gave an answer that cannot be read: {reason}") from None
        return Embedded(vectors, tokens=_tokens(value))

    def _failure(self, answer: Answering, texts: Sequence[str]) -> Transient | Rejected | Fatal:
        """The error that an answer stands for."""
        status, host = answer.status, self._endpoint.host
        code, message = _said(answer.body)
        said = f"{host} answered {status}{f' ({code})' if code else ''}"
        if code in _NO_QUOTA or status == 402:
            return Fatal(f"{said}: the quota of this key is used up; see to the account's billing")
        if status in (408, 409, 424, 425, 429) or status >= 500:
            otherwise = 1.0 if status == 429 else None
            return Transient(said, retry_after_s=_retry_after_s(answer.headers, otherwise))
        if code == "model_not_found":
            status = 404
        if status in (400, 413, 422):
            kind = "too_large" if status == 413 else "model"
            return Rejected(f"{said}{self._quotable(message, texts)}", kind=kind)
        advice = "it redirects, which is not followed; write the address it leads to as baseUrl"
        if status >= 400:
            advice = _ADVICE.get(status, "the call is not one it takes").format(model=self._model)
        return Fatal(f"{said}: {advice}")

    def _quotable(self, message: str, texts: Sequence[str]) -> str:
        """What the server said, unless it repeats a document or the key."""
        message = " ".join(message.split())[:_SAID_CHARS]
        if self._key and self._key in message:
            return ""
        pieces = (message[at : at + _QUOTE_CHARS] for at in range(max(1, len(message) - _QUOTE_CHARS + 1)))
        if not message or any(piece in text for piece in pieces for text in texts):
            return ""
        return f": {message}"


def dimensions_of(params: OpenAIParams) -> int:
    """Length of the vectors: what the node says, or what is known of the model.

    Raises:
        Fatal: Nobody knows, or the model has no vectors of that length.
    """
    known = _DIMENSIONS.get(params.model)
    if params.dimensions is None:
        if known is None:
            raise Fatal(
                f'the length of the vectors of {params.model} is not known; give the embed node "dimensions"'
            )
        return known
    if known is not None and params.dimensions > known:
        raise Fatal(f"{params.model} has vectors of {known} numbers, not {params.dimensions}")
    if params.model == "text-embedding-ada-002" and params.dimensions != known:
        raise Fatal(f"{params.model} has vectors of {known} numbers and cannot shorten them")
    return params.dimensions


class _MisshapenError(ValueError):
    """An answer of the wrong shape; the text says how."""


def _vectors(data: Any, count: int) -> NDArray[np.float32]:
    """Vectors of an answer by the `index` of each, shape (count, any)."""
    if not isinstance(data, list) or len(data) != count:
        raise _MisshapenError(f"{len(data) if isinstance(data, list) else 'no'} vectors for {count} texts")
    found = {entry.get("index", place): entry["embedding"] for place, entry in enumerate(data)}
    if found.keys() != set(range(count)):
        raise _MisshapenError("its vectors are not numbered as the texts are")
    rows = [_numbers(found[index]) for index in range(count)]
    if len({len(row) for row in rows}) != 1:
        raise _MisshapenError("its vectors differ in length")
    vectors = np.frombuffer(b"".join(rows), "<f4").reshape(count, -1)
    return vectors.astype(np.float32, copy=False)


def _numbers(value: Any) -> bytes:
    """One vector as its bytes, however it was written."""
    if isinstance(value, str):
        return binascii.a2b_base64(value, strict_mode=True)
    vector = np.array(value, "<f4")
    if vector.ndim != 1:
        raise _MisshapenError("a vector is not a list of numbers")
    return vector.tobytes()


def _tokens(value: Mapping[str, Any]) -> int | None:
    usage = value.get("usage")
    if not isinstance(usage, dict):
        return None
    tokens = usage.get("total_tokens", usage.get("prompt_tokens"))
    return tokens if isinstance(tokens, int) and tokens >= 0 else None


def _said(body: bytes) -> tuple[str, str]:
    """Code and message of an error, as OpenAI, vLLM, TEI or FastAPI write it; each may be empty."""
    try:
        value = orjson.loads(body)
    except ValueError:
        return "", ""
    if not isinstance(value, dict):
        return "", ""
    error = value.get("error", value.get("detail", value))
    if isinstance(error, list):
        error = error[0] if error else ""
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", ""
    code = error.get("code") or error.get("type") or error.get("error_type") or ""
    message = error.get("message") or error.get("msg") or ""
    is_code = isinstance(code, str) and re.fullmatch(r"[A-Za-z][\w.-]{0,63}", code)
    return code if is_code else "", message if isinstance(message, str) else ""


def _retry_after_s(headers: Mapping[str, str], otherwise: float | None) -> float | None:
    """Seconds the server asks to be left alone, from whichever header says so."""
    readers: tuple[tuple[str, Callable[[str], float]], ...] = (
        ("retry-after-ms", lambda value: float(value) / 1000),
        ("retry-after", _seconds_until),
    )
    for name, read in readers:
        try:
            if name in headers:
                return min(max(read(headers[name]), 0.0), 86400.0)
        except (ValueError, TypeError):
            continue
    resets = [
        _duration_s(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max(resets) if resets else otherwise


def _seconds_until(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return email.utils.parsedate_to_datetime(value).timestamp() - time.time()


def _duration_s(value: str) -> float:
    """`6m0s`, `20ms`."""
    return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION.findall(value))


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _facts(params: OpenAIParams) -> tuple[str, int]:
    from nvisy.models.http import address_fault  # noqa: PLC0415 - an HTTP client is imported by who needs it

    if fault := address_fault(params.base_url, secret=params.api_key is not None):
        raise Fatal(fault)
    if params.api_key is None and params.base_url.rstrip("/") == OPENAI_URL:
        raise Fatal(
            'there is no key for it; give the embed node a "connection" whose params hold apiKey, or the baseUrl of '
            "another server"
        )
    return params.revision, dimensions_of(params)


def _open(params: OpenAIParams) -> OpenAIModel:
    from nvisy.models.http import Endpoint  # noqa: PLC0415

    _facts(params)
    endpoint = Endpoint(
        f"{params.base_url.rstrip('/')}/embeddings",
        api_key=params.api_key.get_secret_value() if params.api_key else None,
        timeout_s=params.timeout_ms / 1000,
        connections=MAX_IN_FLIGHT,
    )
    return OpenAIModel(params, endpoint)


DESCRIPTOR = ModelDescriptor(
    name=NAME,
    summary="A model behind the embeddings API of OpenAI, vLLM, TEI, Ollama and others: openai/NAME.",
    params=OpenAIParams,
    facts=_facts,
    open=_open,
)
