"""The servers that cells share, each started at its first use."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from connectors.vector.tests.qdrant_double import Collection, QdrantDouble
from tests.servers.guard import start_guard
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer
from tests.servers.session import FOLDER_VARIABLE, new_session_folder, private_folder


class Servers:
    """A Kafka, a Postgres, and Qdrants on the engine of Qdrant."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._kafka: KafkaServer | None = None
        self._postgres: PostgresServer | None = None
        self._lock = threading.Lock()

    @property
    def kafka(self) -> KafkaServer:
        """The broker."""
        with self._lock:
            if self._kafka is None:
                self._kafka = KafkaServer(private_folder("kafka")).start()
            return self._kafka

    @property
    def postgres(self) -> PostgresServer:
        """The database server."""
        with self._lock:
            if self._postgres is None:
                self._postgres = PostgresServer(private_folder("postgres")).start()
            return self._postgres

    def qdrant(self) -> Qdrant:
        """A Qdrant of its own; to be closed."""
        return Qdrant(Path(tempfile.mkdtemp(prefix="qdrant-", dir=self.folder)))

    def close(self) -> None:
        """Stop what was started."""
        for server in (self._kafka, self._postgres):
            if server is not None:
                server.remove()


@contextmanager
def servers() -> Iterator[Servers]:
    """Servers in a folder of their own, ended whatever happens."""
    if FOLDER_VARIABLE in os.environ:
        yield from _within(Path(tempfile.mkdtemp(prefix="faults-", dir=os.environ[FOLDER_VARIABLE])))
        return
    folder = new_session_folder()
    os.environ[FOLDER_VARIABLE] = str(folder)
    guard = start_guard(folder)
    try:
        yield from _within(folder / "faults")
    finally:
        del os.environ[FOLDER_VARIABLE]
        guard.communicate(timeout=60)


def _within(folder: Path) -> Iterator[Servers]:
    folder.mkdir(exist_ok=True)
    started = Servers(folder)
    try:
        yield started
    finally:
        started.close()
        shutil.rmtree(folder, ignore_errors=True)


class Qdrant(QdrantDouble):
    """The double, with vectors in what it lists. That a client was killed is no news to it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]

    def _scroll(self, collection: Collection, body: dict[str, Any]) -> dict[str, Any]:
        page = super()._scroll(collection, body)
        if body.get("with_vector"):
            ids = [point["id"] for point in page["points"]]
            vectors = {str(p.id): p.vector for p in collection.shard.retrieve(ids, False, True)}
            for point in page["points"]:
                point["vector"] = vectors[point["id"]]
        return page
