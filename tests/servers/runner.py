"""The two ways to run a server: as a process of this machine, or in a container."""

import functools
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar, Protocol

import psutil


class Runner(Protocol):
    """Starts and ends one server whose identity lies in its folder."""

    def start(self) -> None:
        """Starts the server, the first time or again, without waiting until it answers."""

    def stop(self) -> None:
        """Asks the server to end, and ends it if it does not."""

    def kill(self) -> None:
        """Ends the server as a power cut would: it does nothing more."""

    def remove(self) -> None:
        """Ends the server and everything it left outside its folder."""

    def is_running(self) -> bool:
        """Whether the server is there."""

    def last_words(self) -> str:
        """The end of what the server wrote about itself, for an error message."""


class LocalProcess:
    """A server process, started here and known everywhere by the pid file in its folder.

    A pid is believed only together with the time its process was created: pids are used again.
    """

    _children: ClassVar[dict[int, subprocess.Popen[bytes]]] = {}

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str] = (),
        *,
        stop_signal: signal.Signals = signal.SIGTERM,
        popen: Mapping[str, Any] | None = None,
    ) -> None:
        self._pid_file = folder / "pid.json"
        self._log = folder / "server.log"
        self._argv = list(argv)
        self._stop_signal = stop_signal
        self._popen = dict(popen or {})

    def start(self) -> None:
        with self._log.open("ab") as log:
            child = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for pytest, which then ends its servers itself
                **self._popen,
            )
        created = psutil.Process(child.pid).create_time()
        identity = {"pid": child.pid, "created": created, "stop_signal": int(self._stop_signal)}
        self._pid_file.write_text(json.dumps(identity))
        self._children[child.pid] = child

    def stop(self, timeout_s: float = 10) -> None:
        process = self._process()
        if process is not None:
            process.send_signal(json.loads(self._pid_file.read_text())["stop_signal"])
            if not self._ended(process, timeout_s):
                self.kill()

    def kill(self) -> None:
        process = self._process()
        if process is not None:
            family = [process, *process.children(recursive=True)]
            for member in family:
                if member.is_running():
                    member.kill()
            for member in family:
                self._ended(member, timeout_s=10)

    def remove(self) -> None:
        self.stop()

    def is_running(self) -> bool:
        return self._process() is not None

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

    def _process(self) -> psutil.Process | None:
        if not self._pid_file.exists():
            return None
        identity = json.loads(self._pid_file.read_text())
        try:
            process = psutil.Process(identity["pid"])
        except psutil.NoSuchProcess:
            return None
        same = process.create_time() == identity["created"]
        return process if same and not self._ended(process, timeout_s=0) else None

    def _ended(self, process: psutil.Process, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while True:
            child = self._children.get(process.pid)
            if child is not None:
                child.poll()
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.02)


class Container:
    """A server in a container, known by the id in its folder. Its ports are the same inside and outside."""

    def __init__(
        self,
        folder: Path,
        image: str = "",
        *,
        command: Sequence[str] = (),
        ports: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
    ) -> None:
        self._id_file = folder / "container.txt"
        self._image = image
        self._command = list(command)
        self._ports = ports
        self._env = dict(env or {})
        self._mounts = dict(mounts or {})

    def start(self) -> None:
        if self._id_file.exists():
            self._container().start()
        else:
            self._create()

    def stop(self) -> None:
        self._container().stop(timeout=10)

    def kill(self) -> None:
        if self.is_running():
            self._container().kill()

    def remove(self) -> None:
        if self._id_file.exists():
            self._container().remove(force=True, v=True)

    def is_running(self) -> bool:
        return self._id_file.exists() and self._container().status == "running"

    def last_words(self) -> str:
        return self._container().logs(tail=30).decode(errors="replace") if self._id_file.exists() else ""

    def _create(self) -> None:
        from testcontainers.core.config import testcontainers_config
        from testcontainers.core.container import DockerContainer

        testcontainers_config.ryuk_disabled = (
            True  # it would end with the worker; our guard ends with the session
        )
        container = DockerContainer(self._image, env=self._env).with_command(self._command)
        container.ports.update({f"{port}/tcp": ("127.0.0.1", port) for port in self._ports})  # type: ignore[misc]
        for path, inside in self._mounts.items():
            container.with_volume_mapping(path, inside)
        container.start()
        self._id_file.write_text(container.get_container_id())

    def _container(self) -> Any:
        return docker_client().containers.get(self._id_file.read_text())


def run_to_end(argv: Sequence[str], *, timeout_s: float, popen: Mapping[str, Any] | None = None) -> None:
    """Runs a command that prepares a server; what it printed is in the error if it fails."""
    done = subprocess.run(
        argv,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        **(popen or {}),
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"`{argv[0]}` failed with exit code {done.returncode}:\n{done.stdout}{done.stderr}"
        )


@functools.cache
def docker_client() -> Any:
    """A client of the Docker engine of this machine."""
    import docker

    return docker.from_env()


@functools.cache
def use_docker(image: str) -> bool:
    """Whether to run a server in a container: a Docker engine answers and has the image, or can pull it.

    Otherwise the server is a process of this machine.
    """
    import docker
    import requests

    if not _engine_listens():
        return False
    try:
        if not docker_client().images.list(name=image):
            docker_client().images.pull(image)
    except (docker.errors.DockerException, requests.RequestException):
        return False
    return True


def _engine_listens() -> bool:
    path = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        return probe.connect_ex(path) == 0
