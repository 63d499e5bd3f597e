"""The pytest fixtures of the real servers, loaded by the root `conftest.py` for every test of the project."""

import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from tests.servers.guard import start_guard
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.session import (
    FOLDER_VARIABLE,
    locked,
    memory_disk,
    new_session_folder,
    private_folder,
    session_folder,
)

_GUARD = pytest.StashKey[subprocess.Popen[bytes]]()


class Server(Protocol):
    """What the fixtures need of a server."""

    folder: Path

    def start(self) -> object: ...

    def remove(self) -> None: ...


ServerT = TypeVar("ServerT", bound=Server)


def pytest_configure(config: pytest.Config) -> None:
    """Opens the session's folder; the workers of pytest-xdist inherit it from their controller.

    The `tmp_path` of tests goes to the memory disk too, unless `--basetemp` or the environment says otherwise.
    """
    if FOLDER_VARIABLE not in os.environ:
        if (disk := memory_disk()) is not None:
            os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(disk))
        folder = new_session_folder()
        os.environ[FOLDER_VARIABLE] = str(folder)
        config.stash[_GUARD] = start_guard(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Lets the guard end all servers, in the process that started it."""
    guard = config.stash.get(_GUARD, None)
    if guard is not None:
        del os.environ[FOLDER_VARIABLE]
        guard.communicate(timeout=60)


@pytest.fixture(scope="session")
def kafka() -> KafkaServer:
    """The broker all tests of the session share. A test that harms its broker takes `own_kafka`."""
    return _shared(KafkaServer, "kafka")


@pytest.fixture(scope="session")
def kafka_url(kafka: KafkaServer) -> str:
    """The shared broker as `NVISY_LOG` names it."""
    return f"kafka://{kafka.bootstrap}"


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A broker for one test, to be killed and started again."""
    yield from _private(KafkaServer, "kafka")


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    """The Postgres all tests of the session share. A test that harms its server takes `own_postgres`."""
    return _shared(PostgresServer, "postgres")


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A Postgres for one test, to be killed and started again."""
    yield from _private(PostgresServer, "postgres")


@pytest.fixture
def pg_dsn(postgres: PostgresServer) -> Iterator[str]:
    """The DSN of an empty database of one test, with the `vector` extension."""
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> str:
    """A name no other test has, fit for a graph, a topic, a table or a collection."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:30].strip("-")
    return f"{words}-{secrets.token_hex(3)}"


def _shared(make: Callable[[Path], ServerT], kind: str) -> ServerT:
    folder = session_folder() / kind
    with locked(folder.with_suffix(".lock")):
        started = folder.with_suffix(".started")
        folder.mkdir(mode=0o711, exist_ok=True)
        server = make(folder)
        if not started.exists():
            _start(server)
            started.touch()
    return server


def _start(server: Server) -> None:
    """Starts a server; one that did not come up leaves nothing behind for the next worker to stumble over."""
    try:
        server.start()
    except BaseException:
        server.remove()
        shutil.rmtree(server.folder)
        raise


def _private(make: Callable[[Path], ServerT], kind: str) -> Iterator[ServerT]:
    server = make(private_folder(kind))
    _start(server)
    try:
        yield server
    finally:
        server.remove()
        shutil.rmtree(server.folder)
