"""Starts stage processes by forking one that has their imports behind it.

A stage imports for most of a second before it does anything. One process does that once, stays free of threads, and
forks for each stage: a graph of many stages starts as quickly as one of a single stage, and a stage that died is there
again at once.

```
supervisor ── a socket: folder, environment, descriptors ──▶ fork server ── fork ──▶ stage
     ▲                                                            │
     └────────── a pipe for each stage: its pid, then its exit code ──────┘
```

A stage has a session of its own. It ends with the supervisor, whose end of its pipes the system closes, and so does the
server. When the server dies, stages whose exit code nobody can tell any more are ended, and the next one has a new
server.
"""

from __future__ import annotations

import atexit
import gc
import json
import logging
import os
import random
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

_LENGTH_BYTES = 4
_N_DESCRIPTORS = 4
_GONE_PAUSE_S = 0.005
_STDERR = 2
_FRUGAL = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""glibc keeps what each of many threads once needed, and what a large message did, unless it is told not to."""

_log = logging.getLogger(__name__)


class ForkedProcess:
    """A stage process: what is needed here of a `subprocess.Popen`.

    Attributes:
        stdin: Its orders.
        stdout: What it says.
        returncode: Its exit code, negative for a signal; None while it is not known to have ended.
    """

    def __init__(self, pid: int, stdin: BinaryIO, stdout: BinaryIO, told: BinaryIO) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._told = told
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        if self._reading.acquire(blocking=False):  # else another thread waits for it
            try:
                if self.returncode is None and select.select([self._told], [], [], 0)[0]:
                    self._read()
            finally:
                self._reading.release()
        return self.returncode

    def wait(self) -> int:
        """The exit code, once it has ended."""
        with self._reading:
            return self._read() if self.returncode is None else self.returncode

    def kill(self) -> None:
        """End it with SIGKILL, if it has not ended yet."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _read(self) -> int:
        said = self._told.readline()
        self._told.close()
        if not said:  # its server is gone, and with it the exit code
            _end(self.pid)
        self.returncode = int(said) if said else -signal.SIGKILL
        return self.returncode


class ForkServer:
    """The server of this process: started when it is first needed, ended with this process. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0

    def warm(self) -> None:
        """Start the server, without waiting for its imports."""
        with self._lock:
            self._serving()

    def start(self) -> ForkedProcess:
        """A new stage process, in today's folder and with today's environment. It waits for its orders."""
        with self._lock:
            for _ in range(2):
                process = self._forked()
                if process is not None:
                    return process
                self.close()
        raise RuntimeError("a process that starts stages ended twice as soon as it was asked for one")

    def _forked(self) -> ForkedProcess | None:
        """The stage, or None if the server is gone."""
        orders, to_stage = os.pipe()
        from_stage, says = os.pipe()
        told, tells = os.pipe()
        ours = os.fdopen(to_stage, "wb"), os.fdopen(from_stage, "rb"), os.fdopen(told, "rb")
        theirs = orders, says, tells
        try:
            self._ask((orders, says, _STDERR, tells))
        except (BrokenPipeError, ConnectionResetError):
            _log.debug("the process that starts stages is gone")
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        stdin, stdout, said = ours
        if pid := said.readline():
            return ForkedProcess(int(pid), stdin, stdout, said)
        for file in ours:
            file.close()
        return None

    def _ask(self, descriptors: Sequence[int]) -> None:
        request = json.dumps({"folder": str(Path.cwd()), "environ": dict(os.environ)}).encode()
        server = self._serving()
        socket.send_fds(server, [len(request).to_bytes(_LENGTH_BYTES, "big")], descriptors)
        server.sendall(request)

    def _serving(self) -> socket.socket:
        if self._socket is None or self._pid != os.getpid():  # a fork of its owner has a server of its own
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - ourselves
                    [sys.executable, "-m", "nvisy.runtime.fork_server", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    env={**_FRUGAL, **os.environ, "RUST_BACKTRACE": "0"},
                    start_new_session=True,
                )
            self._socket, self._pid = ours, os.getpid()
        return self._socket

    def close(self) -> None:
        """End the server; its stages end when their pipes do. It is started again when it is needed again."""
        if self._socket is not None and self._process is not None and self._pid == os.getpid():
            self._socket.close()
            self._process.kill()
            self._process.wait()
        self._socket = self._process = None


STAGES = ForkServer()
"""The server of this process; runs that follow each other, or go on side by side, share it."""
atexit.register(STAGES.close)


def _end(pid: int) -> None:
    """End a process that is nobody's child here, and wait until it is gone."""
    with suppress(ProcessLookupError):
        while True:
            os.kill(pid, signal.SIGKILL)
            time.sleep(_GONE_PAUSE_S)


class _Request(NamedTuple):
    """What a stage is to be given: its descriptors are those of stdin, stdout and stderr, and of its own pipe."""

    folder: str
    environ: Mapping[str, str]
    descriptors: Sequence[int]


def serve(connection: socket.socket) -> None:
    """Import what stages import; then fork one for every request, and tell of its end. Returns when nobody can ask."""
    from nvisy.runtime.child import main  # noqa: PLC0415 - slow, and for the server alone

    gc.freeze()  # what is there stays: a collection in a stage would only copy its pages
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    wakes, wake = socket.socketpair()
    with wakes, wake, selectors.DefaultSelector() as ready:
        wakes.setblocking(False)
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        ready.register(connection, selectors.EVENT_READ)
        ready.register(wakes, selectors.EVENT_READ)
        tells_of: dict[int, int] = {}
        while True:
            events = {key.fileobj for key, _ in ready.select()}
            if wakes in events:
                wakes.recv(4096)
                _reap(tells_of)
            if connection in events:
                request = _received(connection)
                if request is None:
                    return
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    for ours in (ready, wakes, wake, connection):
                        ours.close()
                    for descriptor in tells_of.values():
                        os.close(descriptor)
                    _become(main, request)
                tells_of[pid] = _told_of(pid, request)


def _received(connection: socket.socket) -> _Request | None:
    """What is asked for, or None when nobody asks any more."""
    try:
        length, descriptors, _, _ = socket.recv_fds(connection, _LENGTH_BYTES, _N_DESCRIPTORS)
        with connection.makefile("rb") as asked:
            text = asked.read(int.from_bytes(length, "big"))
    except ConnectionResetError:
        return None
    if not length or len(text) < int.from_bytes(length, "big"):
        return None
    return _Request(**json.loads(text), descriptors=descriptors)


def _told_of(pid: int, request: _Request) -> int:
    """Tell that there is a stage; returns the descriptor by which its end is told."""
    *streams, tells = request.descriptors
    for descriptor in streams:
        os.close(descriptor)
    with suppress(BrokenPipeError):
        os.write(tells, b"%d\n" % pid)
    return tells


def _reap(tells_of: dict[int, int]) -> None:
    """Tell the exit codes of the stages that have ended."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            tells = tells_of.pop(pid)
            with suppress(BrokenPipeError):
                os.write(tells, b"%d\n" % os.waitstatus_to_exitcode(status))
            os.close(tells)


def _become(stage: Callable[[], int], request: _Request) -> NoReturn:
    """Be a stage from here on."""
    code = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        *streams, tells = request.descriptors
        os.close(tells)
        for place, descriptor in enumerate(streams):
            os.dup2(descriptor, place)
            os.close(descriptor)
        os.chdir(request.folder)
        os.environ.clear()
        os.environ.update(request.environ)
        sys.path[0] = request.folder
        random.seed()  # else every stage would draw the same numbers
        code = stage()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)  # no waiting for threads of drivers: everything that matters is committed


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as asked_at:
        serve(asked_at)
