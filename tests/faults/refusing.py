"""Stores that refuse some documents for good: those with `REFUSE` in their text."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.faults.cell import Cell
from tests.faults.http_proxy import Fault, HttpProxy
from tests.faults.oracle import REFUSED, SINKS
from tests.faults.stores import PostgresStore, QdrantStore, SqliteStore

WRITES = "/points"
"""Calls that write to Qdrant have it in their path."""


def refuse(cell: Cell, proxy: HttpProxy | None, status: int = 400) -> None:
    """From now on the cell's store does not take such a record: by a constraint, or by the answer of a server."""
    store = cell.store
    match store:
        case SqliteStore():
            with closing(sqlite3.connect(store.path)) as connection:
                for sink in SINKS[cell.setting.shape]:
                    connection.execute(
                        f'CREATE TRIGGER "refuse_{sink}" BEFORE INSERT ON "{sink}__1" '
                        f"WHEN NEW.text LIKE '%{REFUSED}%' BEGIN SELECT RAISE(ABORT, 'as the test ordered'); END"
                    )
                connection.commit()
        case PostgresStore():
            import psycopg

            with psycopg.connect(store.dsn, autocommit=True) as connection:
                for sink in SINKS[cell.setting.shape]:
                    connection.execute(
                        f"ALTER TABLE \"{sink}__1\" ADD CHECK (text NOT LIKE '%{REFUSED}%')"  # type: ignore[arg-type]
                    )
        case QdrantStore():
            assert proxy is not None
            proxy.script = lambda _method, _path, body: (
                Fault(status=status) if REFUSED.encode() in body else None
            )


def in_front(cell: Cell) -> HttpProxy | None:
    """Puts a proxy in front of the cell's Qdrant; before the first run. None for the other stores."""
    if not isinstance(cell.store, QdrantStore):
        return None
    proxy = HttpProxy(cell.store.url)
    cell.closing(proxy.close)
    cell.reach_store_at(proxy.url)
    return proxy
