"""Processes for stages that have their imports behind them: a run in a test starts in a fraction of the time.

A stage is a process of its own here too, with pipes, signals and an end of its own: it is forked by a process that has
imported what stages import, where `nvisy.runtime.stage_process` starts Python anew. That it does so, tests see that
run the graph as a user does, in `Pipeline.start` and by the command line.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

_STAGE = [sys.executable, "-m", "nvisy.runtime.child"]
_IMPORTED = (
    "nvisy.runtime.stage",
    "nvisy.runtime.child",
    "apsw",
    "confluent_kafka",
    "nvisy_object.files",
    "nvisy_vector.sqlite",
    "sqlite_vec",
)


class WarmStages:
    """Stands in for the module `subprocess` where the supervisor starts stages."""

    PIPE = subprocess.PIPE

    def __init__(self, folder: Path) -> None:
        """Start the process that forks; its socket is in `folder`."""
        self._path = str(folder / "stages")
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.flow.warm_stages", self._path],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def close(self) -> None:
        """End the process that forks."""
        self._server.communicate(timeout=60)

    def Popen(  # noqa: N802 - it is called like the class it stands in for
        self,
        arguments: Sequence[str],
        *,
        stdin: int,
        stdout: int,
        env: Mapping[str, str],
        start_new_session: bool,
    ) -> WarmStage:
        """A new stage."""
        assert list(arguments) == _STAGE
        assert stdin == stdout == self.PIPE
        assert start_new_session
        return WarmStage(self._path, env)


class WarmStage:
    """What the supervisor needs of a `subprocess.Popen`."""

    def __init__(self, path: str, env: Mapping[str, str]) -> None:
        orders, to_stage = os.pipe()
        from_stage, said = os.pipe()
        self.stdin: BinaryIO = os.fdopen(to_stage, "wb")
        self.stdout: BinaryIO = os.fdopen(from_stage, "rb")
        self.returncode: int | None = None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
            request = json.dumps({"cwd": str(Path.cwd()), "env": dict(env)}).encode()
            socket.send_fds(connection, [len(request).to_bytes(4, "big")], [orders, said, 2])
            connection.sendall(request)
            self._answers = connection.makefile("rb")
        os.close(orders)
        os.close(said)
        self.pid = int(self._answers.readline())
        self._reading = threading.Lock()

    def poll(self) -> int | None:
        """The exit code, once it is known."""
        if self._reading.acquire(blocking=False):  # else another thread waits for it
            try:
                if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
                    self._read()
            finally:
                self._reading.release()
        return self.returncode

    def wait(self) -> int:
        """The exit code, when it has ended."""
        with self._reading:
            return self._read() if self.returncode is None else self.returncode

    def _read(self) -> int:
        self.returncode = int(self._answers.readline())
        self._answers.close()
        return self.returncode

    def kill(self) -> None:
        """End it with SIGKILL."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def _serve(path: str) -> None:
    for module in _IMPORTED:
        importlib.import_module(module)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, selectors.DefaultSelector() as ready:
        listener.bind(path)
        listener.listen(64)
        ready.register(listener, selectors.EVENT_READ)
        ready.register(sys.stdin, selectors.EVENT_READ)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not any(key.fileobj is sys.stdin for key, _ in ready.select()):
            connection, _ = listener.accept()
            length, descriptors, _, _ = socket.recv_fds(connection, 4, 3)
            if os.fork() == 0:
                ready.close()
                listener.close()
                _keep(connection, int.from_bytes(length, "big"), descriptors)
            for descriptor in descriptors:
                os.close(descriptor)
            connection.close()


def _keep(connection: socket.socket, length: int, descriptors: Sequence[int]) -> None:
    """Fork the stage, tell its number and then its exit code: the parent of one stage. Never returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with connection.makefile("rb") as asked:
        request = json.loads(asked.read(length))
    stage = os.fork()
    if stage == 0:
        connection.close()
        _become_stage(request["cwd"], request["env"], descriptors)
    for descriptor in (*descriptors, 0, 1, 2):
        os.close(descriptor)
    connection.sendall(b"%d\n" % stage)
    _, status = os.waitpid(stage, 0)
    with suppress(BrokenPipeError):
        connection.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become_stage(cwd: str, env: Mapping[str, str], descriptors: Sequence[int]) -> None:
    """What `python -m nvisy.runtime.child` does, in this process. Never returns."""
    from nvisy.runtime.child import main

    os.setsid()
    for place, descriptor in enumerate(descriptors):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[0] = cwd
    code = 1
    try:
        code = main()
        sys.stderr.flush()
    finally:
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1])
