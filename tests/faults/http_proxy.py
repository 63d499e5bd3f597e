"""An HTTP server in front of another one, that answers as a script says, loses answers, or is not there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

import httpx


@dataclass(frozen=True)
class Fault:
    """What happens to a call.

    Attributes:
        kind: `answer`: it is answered with `status` and goes no further. `lose`: it is carried out, and its answer
            is lost with the connection. `drop`: it is not carried out, and the connection ends.
        status: Of the answer.
        headers: Of the answer.
        body: Of the answer.
        delay_s: How long it takes in any case.
    """

    kind: Literal["answer", "lose", "drop", "pass"] = "answer"
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"status": {"error": "as the test ordered"}}'
    delay_s: float = 0.0


@dataclass(frozen=True)
class Call:
    """A call as it came in, at `at` (monotonic seconds), and what was answered; 0: nothing."""

    at: float
    method: str
    path: str
    body: bytes
    status: int


Script = Callable[[str, str, bytes], Fault | None]
"""`(method, path, body)` of a call, and what is to happen to it; None: it is passed on."""


class HttpProxy:
    """`with HttpProxy(url) as proxy`: `proxy.url` is like `url`, but for what `proxy.script` says."""

    def __init__(self, url: str) -> None:
        self.calls: list[Call] = []
        self.script: Script = lambda _method, _path, _body: None
        self._client = httpx.Client(base_url=url, timeout=30)
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._client.close()

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Mapping[str, str], bytes] | None:
        """Status, headers and body; None where the connection is to end without."""
        at = time.monotonic()
        fault = self.script(method, path, body)
        if fault is not None and fault.delay_s:
            time.sleep(fault.delay_s)
        answered: tuple[int, Mapping[str, str], bytes] | None = None
        if fault is not None and fault.kind == "answer":
            answered = fault.status, fault.headers, fault.body
        elif fault is None or fault.kind != "drop":
            passed = self._client.request(method, path, content=body, headers=_JSON)
            answered = passed.status_code, {}, passed.content
        if fault is not None and fault.kind in ("lose", "drop"):
            answered = None
        self.calls.append(Call(at, method, path, body, answered[0] if answered else 0))
        return answered


_JSON = {"content-type": "application/json"}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no news."""


def _handler(proxy: HttpProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            answered = proxy.answer(self.command, self.path, body)
            if answered is None:
                self.close_connection = True
                return
            status, headers, content = answered
            with suppress(ConnectionError):
                self.send_response(status)
                for name, value in {**_JSON, **headers, "content-length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """A test's output is no place for an access log."""

    return Handler
