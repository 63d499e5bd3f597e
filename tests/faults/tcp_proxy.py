"""A port in front of another one, for protocols that are not HTTP: it cuts connections when it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

_CHUNK_BYTES = 1 << 16


class TcpProxy:
    """Passes bytes on, both ways.

    Attributes:
        port: Where it listens, on the loopback.
        lose: Asked for what a client sends; where it says True, that is passed on, and the connection ends when the
            server answers, before the answer gets through: what was asked for has happened, and nobody is told.
        refusing: New connections end at once, and those there are have ended.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self.lose: Callable[[bytes], bool] = lambda _sent: False
        self.lost = 0
        self._refusing = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def refusing(self) -> bool:
        """Whether it is as if nobody were there."""
        return self._refusing

    @refusing.setter
    def refusing(self, refusing: bool) -> None:
        self._refusing = refusing
        if refusing:
            self.cut()

    def cut(self) -> None:
        """End every connection there is."""
        with self._lock:
            ended, self._open = self._open, set()
        for one in ended:
            _end(one)

    def close(self) -> None:
        """End it."""
        _end(self._listener)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            if self._refusing:
                _end(client)
                continue
            try:
                server = socket.create_connection(self._target, timeout=10)
            except OSError:
                _end(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            losing = threading.Event()
            for origin, to, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(origin, to, losing, asks), daemon=True).start()

    def _pass(self, origin: socket.socket, to: socket.socket, losing: threading.Event, asks: bool) -> None:
        with suppress(OSError):
            while data := origin.recv(_CHUNK_BYTES):
                if asks and self.lose(data):
                    losing.set()
                elif not asks and losing.is_set():
                    self.lost += 1
                    break
                to.sendall(data)
        _end(origin)
        _end(to)
        with self._lock:
            self._open -= {origin, to}


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
