"""A pipeline from tables to an index, run as a user would run it, and what the index has to hold, in SQL."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from nvisy.catalog import Catalog
from nvisy.connector.sink import Sink
from nvisy.errors import Refused
from nvisy.graph.model import Graph
from nvisy.graph.validate import check
from nvisy.runtime.sinks import open_sink
from tests.flow.pipeline import Pipeline, edges

from .database import PATIENCE_S, Database

SETUP = """
CREATE TABLE articles (id int PRIMARY KEY, title text NOT NULL, body text, "sub title" text);
CREATE TABLE notes (owner text, n int, body text NOT NULL, PRIMARY KEY (owner, n));
ALTER TABLE articles ALTER body SET STORAGE EXTERNAL
"""
ORACLE = """
SELECT 'public.articles/' || id, title || coalesce(body, '') || coalesce("sub title", '') FROM articles
UNION ALL SELECT 'public.notes/' || owner || ',' || n, body FROM notes
"""
TEXT = (
    "table == 'public.notes' ? string(row['body'])"
    " : string(title) + coalesce(body, '') + coalesce(row['sub title'], '')"
)


class Tables(Pipeline):
    """Two tables → documents → vectors → SQLite."""

    def __init__(self, folder: Path, name: str, log_url: str | None, database: Database) -> None:
        super().__init__(folder, name, log_url)
        self.database = database
        self.environ["PG_DSN"] = database.dsn
        self.said = folder / "stderr.txt"
        self.graph = {
            "name": name,
            "nodes": [
                {"id": "rows", "type": "source", "provider": "sql/postgres", "params": self.source()},
                {"id": "document", "type": "action", "action": "map", "params": {"text": TEXT}},
                {
                    "id": "embed",
                    "type": "action",
                    "action": "embed",
                    "params": {"model": "local/hash", "dimensions": 16},
                },
                self.sink("index"),
            ],
            "edges": edges("rows>document", "document>embed", "embed>index"),
        }

    def source(self, **params: Any) -> dict[str, Any]:
        """Parameters of the source."""
        return {"dsn": "${PG_DSN}", "mode": "cdc", "tables": ["public.articles", "public.notes"], **params}

    @contextmanager
    def following(self) -> Iterator[subprocess.Popen[bytes]]:
        """A run that follows the tables; stopped in order at the end."""
        with self.said.open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.flow.runner", str(self.save()), "--follow"],
                cwd=self.folder,
                env={**self.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
                stdout=subprocess.DEVNULL,
                stderr=said,
            )
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0, self.said.read_text()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def wanted(self) -> dict[str, str]:
        """By key: what the index has to say, as SQL has it."""
        return dict(self.database.execute(ORACLE))

    def found(self) -> dict[str, str]:
        """By key: what the index says."""
        try:
            index = self._index.index()
        except Refused:  # not made yet
            return {}
        with closing(index):
            return {hit.key: hit.text for hit in index.records(None)}

    @cached_property
    def _index(self) -> Sink:
        checked = check(Graph.load(self.save()), Catalog.installed(), self.environ)
        sink: Sink = open_sink(checked, "index", self.settings.state)[1]
        return sink

    def settled(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the index holds what the tables do, row for row."""
        until = time.monotonic() + PATIENCE_S
        wanted = self.wanted()
        while (found := self.found()) != wanted:
            assert process.poll() is None, self.said.read_text()
            assert time.monotonic() < until, differences(wanted, found)
            time.sleep(0.2)


def differences(wanted: dict[str, str], found: dict[str, str]) -> str:
    """The first of them, for people."""
    missing = sorted(wanted.keys() - found.keys())[:5]
    extra = sorted(found.keys() - wanted.keys())[:5]
    other = sorted(key for key in wanted.keys() & found.keys() if wanted[key] != found[key])[:5]
    return f"{len(wanted)} wanted, {len(found)} found; missing {missing}, extra {extra}, stale {other}"


def fill(database: Database, rows: int) -> None:
    """Both tables with their first rows."""
    database.execute(SETUP)
    database.execute(
        f"INSERT INTO articles SELECT n, 'title ' || n, 'body ' || n FROM generate_series(1, {rows}) AS n"
    )
    database.execute(
        f"INSERT INTO notes SELECT 'o' || n % 7, n, 'note ' || n FROM generate_series(1, {rows // 4}) AS n"
    )


class Workload:
    """Random changes from several sessions, the same for the same seed."""

    def __init__(self, database: Database, seed: int) -> None:
        self._random = random.Random(seed)
        self._sessions = [psycopg.connect(database.dsn) for _ in range(3)]

    def work(self, transactions: int) -> None:
        """So many transactions, some rolled back, some with savepoints."""
        for _ in range(transactions):
            session = self._random.choice(self._sessions)
            for _ in range(self._random.randint(1, 5)):
                session.execute(self._statement().encode())
            if self._random.random() < 0.3:
                session.execute("SAVEPOINT a")
                session.execute(self._statement().encode())
                session.execute("ROLLBACK TO a" if self._random.random() < 0.5 else "RELEASE a")
            session.rollback() if self._random.random() < 0.1 else session.commit()

    def close(self) -> None:
        """Close the sessions."""
        for session in self._sessions:
            session.close()

    def _statement(self) -> str:
        pick = self._random.randint
        some, other = pick(1, 600), pick(1, 600)
        statements = [
            f"INSERT INTO articles VALUES ({some}, 'in {other}') ON CONFLICT DO NOTHING",
            f"UPDATE articles SET title = 'up {other}' WHERE id = {some}",
            f"UPDATE articles SET body = NULL WHERE id = {some}",
            f"UPDATE articles SET body = repeat('large {some} ', 500) WHERE id = {some}",
            f"UPDATE articles SET \"sub title\" = 'sub {other}' WHERE id BETWEEN {some} AND {some + 3}",
            f"DELETE FROM articles WHERE id BETWEEN {some} AND {some + 1}",
            f"DELETE FROM articles WHERE id = -{some}; UPDATE articles SET id = -{some} WHERE id = {some}",
            f"DELETE FROM notes WHERE n = {other}; INSERT INTO notes VALUES ('o{some % 7}', {other}, 'n {some}')",
            f"DELETE FROM notes WHERE n = {some}",
        ]
        return self._random.choice(statements)
