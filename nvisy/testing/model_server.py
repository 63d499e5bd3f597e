"""A double of the embeddings API on this machine, which fails as it is told and remembers what it was asked."""

from __future__ import annotations

import base64
import hashlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

import numpy as np
import orjson
from numpy.typing import NDArray

Fault = Literal[
    "rate_limited", "quota", "unauthorized", "missing", "redirect", "error", "unavailable", "stalled", "dropped",
    "garbage", "cut", "miscounted", "misnumbered", "dimensions", "nan", "no_base64",
]  # fmt: skip
"""What may go wrong with a call. `stalled`: no answer; `dropped`: the connection ends; `cut`: half an answer."""

_ERRORS: Mapping[Fault, tuple[int, str]] = {
    "rate_limited": (429, "rate_limit_exceeded"),
    "quota": (429, "insufficient_quota"),
    "unauthorized": (401, "invalid_api_key"),
    "missing": (404, "model_not_found"),
    "redirect": (307, "moved"),
    "error": (500, "server_error"),
    "unavailable": (503, "unavailable"),
    "no_base64": (400, "unknown_field"),
}
STALL_S = 30.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in: when (monotonic seconds), what was asked, and how it was answered."""

    at: float
    texts: tuple[str, ...]
    fields: Mapping[str, Any]
    status: int


@dataclass
class ModelServer:
    """`with ModelServer() as server`: an embeddings API at `server.url`.

    Attributes:
        dimensions: Length of the vectors, which depend on nothing but the text.
        latency_s: How long an answer takes.
        api_key: The key it asks for, if it asks for one.
        base64: Whether it knows `encoding_format`; one that does not sends numbers.
        shortens: Whether it knows `dimensions`.
        rejects: Calls with a text of which this is true are answered with 400.
        spoils: A text of which this is true gets a vector with a number that is none.
        drift: Largest difference between a number of a text's vector in one answer and in another.
        requests_per_minute: Calls in any minute; more are answered with 429 and counted.
        tokens_per_minute: Tokens (a quarter of the characters) in any minute, likewise.
        max_in_flight: Calls side by side, likewise.
        retry_after: Header of that name in answers of 429, or none.
        faults: By kind, how often calls fail, drawn from `seed`.
    """

    dimensions: int = 8
    latency_s: float = 0.0
    api_key: str | None = None
    base64: bool = True
    shortens: bool = True
    rejects: Callable[[str], bool] = lambda _text: False
    spoils: Callable[[str], bool] = lambda _text: False
    drift: float = 0.0
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_in_flight: int | None = None
    retry_after: str | None = "0.2"
    faults: Mapping[Fault, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.calls: list[Call] = []
        self.over_limit = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._script: deque[Fault] = deque()
        self._outage: Fault | None = None
        self._random = random.Random(self.seed)  # noqa: S311 - it draws faults
        self._accepted: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its `baseUrl`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def texts(self) -> list[str]:
        """Texts that it has embedded, in order of the calls."""
        return [text for call in self.calls if call.status == 200 for text in call.texts]

    def next(self, *faults: Fault) -> None:
        """The next calls fail like this."""
        self._script.extend(faults)

    def fail(self, fault: Fault | None) -> None:
        """Every call fails like this, until it is called with None."""
        self._outage = fault

    def vector(self, text: str) -> NDArray[np.float32]:
        """The vector of a text, shape (dimensions,)."""
        vector: NDArray[np.float32] = _vectors([text], self.dimensions)[0]
        return vector

    def answer(
        self, path: str, authorization: str | None, body: bytes
    ) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body for a call; None where the connection is to end without."""
        at = time.monotonic()
        with self._lock:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            asked = orjson.loads(body)
            texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
            fault = self._fault(texts, path, authorization, at)
            if fault == "stalled":
                self._released.wait(STALL_S)
            elif self.latency_s:
                time.sleep(self.latency_s)
            answer = self._answer(fault, asked, texts)
            fields = {name: value for name, value in asked.items() if name != "input"}
            self.calls.append(Call(at, tuple(texts), fields, answer[0] if answer else 0))
            return answer
        finally:
            with self._lock:
                self.in_flight -= 1

    def _fault(self, texts: Sequence[str], path: str, authorization: str | None, at: float) -> Fault | None:
        with self._lock:
            if self._script:
                return self._script.popleft()
            fault: Fault | None = self._outage
            if fault is None and path != "/v1/embeddings":
                fault = "missing"
            if fault is None and self.api_key is not None and authorization != f"Bearer {self.api_key}":
                fault = "unauthorized"
            if fault is None and not self._within_limits(at, texts):
                self.over_limit += 1
                fault = "rate_limited"
            return fault or self._drawn()

    def _drawn(self) -> Fault | None:
        drawn = self._random.random()
        for fault, rate in self.faults.items():
            drawn -= rate
            if drawn < 0:
                return fault
        return None

    def _within_limits(self, at: float, texts: Sequence[str]) -> bool:
        if not (self.requests_per_minute or self.tokens_per_minute):
            return self.in_flight <= (self.max_in_flight or self.in_flight)
        while self._accepted and self._accepted[0][0] <= at - 60:
            self._accepted.popleft()
        cost = tokens_of(texts)
        requests, tokens = len(self._accepted) + 1, sum(spent for _, spent in self._accepted) + cost
        fits = (
            requests <= (self.requests_per_minute or requests)
            and tokens <= (self.tokens_per_minute or tokens)
            and self.in_flight <= (self.max_in_flight or self.in_flight)
        )
        if fits:
            self._accepted.append((at, cost))
        return fits

    def _answer(
        self, fault: Fault | None, asked: Mapping[str, Any], texts: Sequence[str]
    ) -> tuple[int, dict[str, str], bytes] | None:
        if fault in ("stalled", "dropped"):
            return None
        if fault is not None and fault in _ERRORS:
            status, code = _ERRORS[fault]
            headers = {"retry-after": self.retry_after} if status == 429 and self.retry_after else {}
            headers |= {"location": "http://127.0.0.1:9/"} if status == 307 else {}
            message = "encoding_format is not a field" if fault == "no_base64" else "it is told to fail"
            return status, headers, _error(code, message)
        if any(self.rejects(text) for text in texts):
            return 400, {}, _error("invalid_request_error", "an input is invalid")
        return 200, {}, self._embedded(fault, asked, texts)

    def _embedded(self, fault: Fault | None, asked: Mapping[str, Any], texts: Sequence[str]) -> bytes:
        if fault == "garbage":
            return b"<html>502 Bad Gateway</html>"
        dimensions = asked.get("dimensions", self.dimensions) if self.shortens else self.dimensions
        vectors = self._drifted(_vectors(texts, self.dimensions))[:, :dimensions]
        if fault == "dimensions":
            vectors = vectors[:, :-1]
        if fault == "nan":
            vectors[0, 0] = np.nan
        vectors[[self.spoils(text) for text in texts], 0] = np.nan
        as_base64 = self.base64 and asked.get("encoding_format") == "base64"
        data = [
            {
                "object": "embedding",
                "index": index + (fault == "misnumbered"),
                "embedding": base64.b64encode(vector.tobytes()).decode() if as_base64 else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]
        data.reverse()  # whoever trusts the order, and not the index, is found out
        tokens = tokens_of(texts)
        whole = orjson.dumps(
            {
                "object": "list",
                "data": data[1:] if fault == "miscounted" else data,
                "model": asked.get("model"),
                "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
            }
        )
        return whole[: len(whole) // 2] if fault == "cut" else whole

    def _drifted(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.drift:
            return vectors
        with self._lock:
            numbers = [self._random.uniform(-self.drift, self.drift) / 2 for _ in range(vectors.size)]
        return vectors + np.array(numbers, np.float32).reshape(vectors.shape)


def tokens_of(texts: Sequence[str]) -> int:
    """What texts cost at a `ModelServer`."""
    return sum(-(-len(text) // 4) for text in texts)


def _vectors(texts: Sequence[str], dimensions: int) -> NDArray[np.float32]:
    digests = b"".join(
        hashlib.shake_128(text.encode("utf-8", "replace")).digest(dimensions) for text in texts
    )
    signed = np.frombuffer(digests, np.uint8).astype(np.float32).reshape(len(texts), dimensions) - 127.5
    vectors: NDArray[np.float32] = signed / np.linalg.norm(signed, axis=1, keepdims=True)
    return vectors


def _error(code: str, message: str) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": code, "code": code}})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no news."""


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = server.answer(self.path, self.headers.get("authorization"), body)
            if answer is None:
                self.close_connection = True
                return
            status, headers, content = answer
            self.send_response(status)
            for name, value in {**headers, "content-type": "application/json"}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Say nothing."""

    return Handler
