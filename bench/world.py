"""Where the workloads run: a folder that goes away again, and real servers that are started when one is asked for."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self

from bench import documents
from tests.servers.guard import start_guard
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer


class World:
    """`with World(...) as world`.

    Attributes:
        smoke: Small inputs and one repetition: to see that everything works, not how fast.
        repeats: How often a pair is run.
        scale: Of the inputs, for a first look at a machine that is busy.
        folder: For whatever lasts as long as the world.
    """

    def __init__(
        self,
        *,
        smoke: bool,
        repeats: int,
        scale: float = 1.0,
        postgres: PostgresServer | None = None,
        kafka: str | None = None,
    ) -> None:
        self.smoke = smoke
        self.scale = scale
        self.repeats = 1 if smoke else repeats
        self._postgres_given = postgres
        self._kafka_given = kafka

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(tempfile.mkdtemp(prefix="nvisy-bench-"))
            self.folder.chmod(0o711)  # a server that drops root's rights passes through it
            guard = start_guard(self.folder)
            stack.callback(guard.communicate)  # ends the servers and removes the folder
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def size(self, full: int, smoke: int) -> int:
        """How many documents."""
        return smoke if self.smoke else int(full * self.scale)

    @cached_property
    def _postgres(self) -> PostgresServer:
        return self._postgres_given or PostgresServer(self._server_folder("postgres")).start()

    @cached_property
    def kafka(self) -> str:
        """`host:port` of a broker."""
        return self._kafka_given or KafkaServer(self._server_folder("kafka")).start().bootstrap

    @contextmanager
    def database(self) -> Iterator[str]:
        """The DSN of an empty database with pgvector."""
        dsn = self._postgres.create_database()
        try:
            yield dsn
        finally:
            self._postgres.drop_database(dsn)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder for one run."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    def corpus(self, count: int) -> Path:
        """A file of `count` documents, made once."""
        path = self.folder / f"documents-{count}.jsonl"
        if not path.exists():
            documents.write(path, count)
        return path

    def _server_folder(self, kind: str) -> Path:
        folder = self.folder / kind
        folder.mkdir(mode=0o711)
        return folder


def unique(name: str) -> str:
    """A name that no topic and no graph has yet."""
    return f"bench-{name}-{secrets.token_hex(4)}"
