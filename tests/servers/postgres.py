"""A real Postgres 18 with pgvector on the loopback."""

import json
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.servers.postgres_binaries import binaries, give, run_as
from tests.servers.runner import Container, LocalProcess, Runner, run_to_end, use_docker
from tests.servers.session import free_ports

if TYPE_CHECKING:
    from psycopg import Connection

IMAGE = "pgvector/pgvector:0.8.6-pg18-trixie"
_TEMPLATE = "with_vector"
_SETTINGS = {
    "fsync": "off",  # a killed server loses nothing by it, only a power cut would
    "full_page_writes": "off",
    "max_connections": "200",
    "wal_level": "logical",
    "max_replication_slots": "100",
    "max_wal_senders": "100",
    "max_parallel_maintenance_workers": "0",  # needs more shared memory than containers have
    "dynamic_shared_memory_type": "mmap",
}


class PostgresServer:
    """One server with its data in `folder`.

    It keeps its data and its port when it is stopped, killed and started again.

    Attributes:
        dsn: where the `postgres` database is, for the server's owner.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        identity = folder / "postgres.json"
        if not identity.exists():
            identity.write_text(json.dumps({"port": free_ports(1)[0], "password": secrets.token_urlsafe(12)}))
        known = json.loads(identity.read_text())
        self._port: int = known["port"]
        self._password: str = known["password"]
        self.dsn = self._dsn("postgres")
        self._in_docker = use_docker(IMAGE)
        self._runner: Runner = self._container() if self._in_docker else self._process()

    def start(self, timeout_s: float = 60) -> Self:
        """Starts the server and waits until it answers."""
        ready = self.folder / "ready"
        if not ready.exists() and not self._in_docker:
            self._initialise()
        self._runner.start()
        self._wait(timeout_s)
        if not ready.exists():
            self._make_template()
            ready.touch()
        return self

    def stop(self) -> None:
        """Shuts the server down in an orderly way, its clients too; its data stay."""
        self._runner.stop()

    def kill(self) -> None:
        """Ends the server and its clients' backends with SIGKILL; its data stay as they are."""
        self._runner.kill()

    def restart(self) -> None:
        """Shuts the server down and starts it again."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Ends the server for good."""
        self._runner.remove()

    def is_running(self) -> bool:
        """Whether the server's process is there."""
        return self._runner.is_running()

    def create_database(self, name: str | None = None) -> str:
        """Makes an empty database in which the `vector` extension is there, and returns its DSN."""
        from psycopg import sql

        name = name or f"t_{secrets.token_hex(6)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        with self._connect("postgres") as connection:
            connection.execute(statement.format(sql.Identifier(name), sql.Identifier(_TEMPLATE)))
        return self._dsn(name)

    def drop_database(self, dsn: str) -> None:
        """Drops a database that `create_database` made, whoever is still connected to it."""
        from psycopg import sql

        name = dsn.rpartition("/")[2]
        with self._connect("postgres") as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _dsn(self, database: str) -> str:
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{database}"

    def _initialise(self) -> None:
        password, sockets, data = (self.folder / name for name in ("password", "s", "data"))
        password.write_text(self._password)
        for path in (sockets, data):
            path.mkdir(mode=0o700)
        password.chmod(0o600)
        for path in (password, sockets, data):
            give(path)
        options = [
            "--username=postgres",
            f"--pwfile={password}",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
        ]
        initdb = [str(binaries() / "initdb"), "-D", str(data), "--encoding=UTF8", "--locale=C", "--no-sync"]
        run_to_end([*initdb, *options], timeout_s=60, popen={"cwd": data, **run_as()})

    def _process(self) -> Runner:
        data, sockets = self.folder / "data", self.folder / "s"
        settings = _SETTINGS | {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": f'"{sockets}"',
        }
        argv = [str(binaries() / "postgres"), "-D", str(data), *_as_options(settings)]
        return LocalProcess(self.folder, argv, stop_signal=signal.SIGINT, popen={"cwd": data, **run_as()})

    def _container(self) -> Runner:
        settings = _SETTINGS | {"port": str(self._port)}
        return Container(
            self.folder,
            IMAGE,
            command=["postgres", *_as_options(settings)],
            ports=[self._port],
            env={"POSTGRES_PASSWORD": self._password, "PGPORT": str(self._port)},
        )

    def _make_template(self) -> None:
        from psycopg import sql

        with self._connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(_TEMPLATE)))
        with self._connect(_TEMPLATE) as connection:
            connection.execute("CREATE EXTENSION vector")

    @contextmanager
    def _connect(self, database: str) -> "Iterator[Connection[Any]]":
        import psycopg

        with psycopg.connect(self._dsn(database), autocommit=True, connect_timeout=5) as connection:
            yield connection

    def _wait(self, timeout_s: float) -> None:
        import psycopg

        deadline = time.monotonic() + timeout_s
        while True:
            try:
                with self._connect("postgres"):
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline or not self.is_running():
                    log = self._runner.last_words()
                    message = (
                        f"Postgres did not come up on port {self._port}: {error}\nIts log ends with:\n{log}"
                    )
                    raise RuntimeError(message) from None
            time.sleep(0.05)


def _as_options(settings: dict[str, str]) -> list[str]:
    return [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]
