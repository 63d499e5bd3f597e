"""F29: the model refuses, answers with too few vectors, with vectors of another length, with others each time."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Set
from contextlib import closing

import httpx

from nvisy.testing.model_server import Fault
from tests.faults.cell import Cell
from tests.faults.matrix import CHAIN, Row
from tests.faults.stores import PostgresStore, QdrantStore, SqliteStore

PASSING: tuple[Fault, ...] = (
    "rate_limited", "miscounted", "misnumbered", "garbage", "cut", "dropped", "error", "unavailable",
)  # fmt: skip
FATAL = 1
CACHE = "embeddings.db*"
DRIFT = 1e-6
"""Less than what makes a vector another text's, and enough to make it other bytes."""


def play(cell: Cell) -> None:
    """What passes is waited out; another length ends the run; other vectors are the same records."""
    cell.source.fill(24)
    cell.start()
    cell.rest()
    for fault in PASSING[:3] if cell.setting.quick else PASSING:
        with cell.saying(fault):
            cell.model.next(fault, fault)
            cell.tally.runs += 1
            _edit(cell)
            cell.rest(time.monotonic())
    _other_length(cell)
    _others_each_time(cell)
    cell.stop()
    cell.finish()


def _other_length(cell: Cell) -> None:
    """Somebody has put another model behind the name: it is for a person to look at."""
    cell.tally.runs += 1
    cell.model.fail("dimensions")
    _edit(cell)
    code = cell.ended(cell.running, 60)
    cell.expect(code == FATAL and "7 numbers" in cell.said(), f"exit code {code}, and it said: {cell.said()}")
    cell.model.fail(None)
    began = time.monotonic()
    cell.start()
    cell.rest(began)


def _others_each_time(cell: Cell) -> None:
    """Everything is embedded again, by a model that never says the same twice."""
    cell.model.drift = DRIFT
    _edit(cell)
    cell.rest()
    cell.stop()
    ids = _ids(cell)
    for cache in cell.state.glob(CACHE):
        cache.unlink()
    asked = len(cell.model.texts)
    for key in cell.source.names():
        cell.source.write(key, f"{cell.source.text(key)}\n\n{cell.source.passage()}")
    began = time.monotonic()
    cell.start()
    cell.rest(began)
    cell.tally.runs += 1
    cell.expect(len(cell.model.texts) - asked > len(ids), "nothing was embedded again")
    cell.expect(ids <= _ids(cell), "records that are as they were have other ids")


def _edit(cell: Cell) -> None:
    """Edits that ask the model for something new."""
    cell.source.edit()
    cell.source.write(cell.source.names()[0], cell.source.document(2))


def _ids(cell: Cell) -> Set[str]:
    """Ids of the records that the index holds."""
    store = cell.store
    match store:
        case SqliteStore():
            with closing(sqlite3.connect(f"file:{store.path}?mode=ro", uri=True)) as connection:
                return {str(row[0]) for row in connection.execute('SELECT id FROM "index"')}
        case PostgresStore():
            import psycopg

            with psycopg.connect(store.dsn) as postgres:
                return {str(row[0]) for row in postgres.execute('SELECT id FROM "index"')}
        case QdrantStore():
            body = {"limit": 10_000, "with_payload": False}
            found = httpx.post(f"{store.url}/collections/index/points/scroll", json=body)
            return {point["id"] for point in found.json()["result"]["points"]}
    raise TypeError(store)


ROW = Row("F29", "a model that refuses, miscounts, changes", play, where=CHAIN, dup=None, ttr_s=40.0)
