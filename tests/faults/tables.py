"""A cell whose documents are the rows of a table: the pipeline from it, and what the index has to hold, in SQL."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

from tests.faults.cell import Cell
from tests.faults.tally import CellFailed

WITHIN_S = 60.0
_SETUP = """
CREATE TABLE articles (id int PRIMARY KEY, title text NOT NULL, body text, views int DEFAULT 0);
CREATE TABLE noise (t text);
ALTER TABLE articles ALTER body SET STORAGE EXTERNAL
"""
_ORACLE = "SELECT 'public.articles/' || id, title || coalesce(body, '') FROM articles"


class Tables:
    """A database of a cell's own, and its pipeline: table → documents → vectors → the cell's store."""

    def __init__(self, cell: Cell, dsn: str) -> None:
        self.cell = cell
        self.dsn = dsn
        self._database = psycopg.connect(dsn, autocommit=True)
        self._random = random.Random(f"{cell.setting.seed}/{cell.row}/{cell.setting}")
        self.slot = f"s_{cell.name}".replace("-", "_").lower()[:60]
        self.execute(_SETUP)
        source = {"dsn": dsn, "mode": "cdc", "tables": ["public.articles"], "slot": self.slot}
        sink = cell.store.sink()
        cell.graph = {
            "name": cell.name,
            "nodes": [
                {"id": "rows", "type": "source", "provider": "sql/postgres", "params": source},
                {
                    "id": "document",
                    "type": "action",
                    "action": "map",
                    "params": {"text": "title + coalesce(body, '')"},
                },
                {
                    "id": "embed",
                    "type": "action",
                    "action": "embed",
                    "params": {"model": "local/hash", "dimensions": 16},
                },
                {
                    "id": "index",
                    "type": "sink",
                    "provider": sink["provider"],
                    "params": {**sink["params"], "collection": "index"},
                },
            ],
            "edges": [
                {"from": "rows", "to": "document"},
                {"from": "document", "to": "embed"},
                {"from": "embed", "to": "index"},
            ],
        }

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run it; its rows, if it gives any."""
        cursor = self._database.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def fill(self, rows: int) -> None:
        """The first rows."""
        self.execute(
            f"INSERT INTO articles SELECT n, 'title ' || n, 'body ' || n FROM generate_series(1, {rows}) AS n"
        )

    def change(self, times: int, highest: int = 400) -> None:
        """Random changes: inserts, updates, other keys, deletes."""
        for _ in range(times):
            some, other = self._random.randint(1, highest), self._random.randint(1, highest)
            statements = [
                f"INSERT INTO articles VALUES ({some}, 'in {other}') ON CONFLICT DO NOTHING",
                f"UPDATE articles SET title = 'up {other}' WHERE id = {some}",
                f"UPDATE articles SET body = repeat('large {other} ', 500) WHERE id = {some}",
                f"UPDATE articles SET views = views + 1 WHERE id BETWEEN {some} AND {some + 3}",
                f"DELETE FROM articles WHERE id = {some}",
                f"DELETE FROM articles WHERE id = -{some}; UPDATE articles SET id = -{some} WHERE id = {some}",
            ]
            self.execute(self._random.choice(statements))

    def rest(self, since: float | None = None) -> None:
        """Wait until the index holds what the table does; the seconds since a fault count for TTR."""
        until = time.monotonic() + WITHIN_S * self.cell.slowness
        while (found := self._found()) != (wanted := self._wanted()):
            if time.monotonic() > until:
                self._count(wanted, found)
                raise CellFailed
            time.sleep(0.05)
        if since is not None:
            self.cell.tally.ttr_s = max(self.cell.tally.ttr_s, time.monotonic() - since)

    def until(self, statement: str, *values: Any) -> None:
        """Wait until a query gives a row."""
        until = time.monotonic() + WITHIN_S * self.cell.slowness
        while not self.execute(statement, *values):
            if time.monotonic() > until:
                self.cell.fail(f"this did not come about: {statement}")
            time.sleep(0.02)

    def drop_slot(self) -> None:
        """As an operator who frees the disk would: whoever reads it."""
        here = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active_pid IS NULL"
        self.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s",
            self.slot,
        )
        self.until(here, self.slot)
        self.execute("SELECT pg_drop_replication_slot(%s)", self.slot)

    def finish(self) -> None:
        """The last word: run to the end, compare, run again: it must find nothing to do."""
        self.cell.run()
        self._judge()
        again = self.cell.run()
        idle = {name: again[name] for name in ("written", "removed") if again[name]}
        self.cell.expect(not idle, f"a second run found something to do: {idle}")
        self._judge()

    def close(self) -> None:
        """Give the slot back."""
        with suppress(psycopg.Error):
            self.drop_slot()
        self._database.close()

    def _judge(self) -> None:
        wanted, found = self._wanted(), self._found()
        if wanted != found:
            self._count(wanted, found)
            raise CellFailed

    def _wanted(self) -> dict[str, str]:
        return dict(self.execute(_ORACLE))

    def _found(self) -> dict[str, str]:
        return {key: text for key, text, *_ in self.cell.store.rows("index")}

    def _count(self, wanted: dict[str, str], found: dict[str, str]) -> None:
        tally = self.cell.tally
        wrong = {key for key in wanted.keys() & found.keys() if wanted[key] != found[key]}
        lost, extra = (
            sorted((wanted.keys() - found.keys()) | wrong),
            sorted((found.keys() - wanted.keys()) | wrong),
        )
        tally.lost += len(lost)
        tally.extra += len(extra)
        tally.failures.append(f"{self.cell.setting}: lost {lost[:5]}, extra {extra[:5]}: {self.cell.said()}")


@contextmanager
def tables(cell: Cell) -> Iterator[Tables]:
    """The tables of a cell, and the end of their database."""
    server = cell.servers.postgres
    dsn = server.create_database()
    made = Tables(cell, dsn)
    try:
        yield made
    finally:
        if cell.process is not None and cell.process.poll() is None:
            cell.kill()
        made.close()
        server.drop_database(dsn)
