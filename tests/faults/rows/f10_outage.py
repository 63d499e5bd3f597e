"""F10: the sink is down for a minute: 500 and 503 from Qdrant, no Postgres, a file that another program holds."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from urllib.parse import urlsplit

import psutil

from tests.faults.cell import Cell
from tests.faults.http_proxy import Fault
from tests.faults.logs import letters
from tests.faults.matrix import CHAIN, Row
from tests.faults.refusing import in_front
from tests.faults.stores import PostgresStore, SqliteStore
from tests.faults.tcp_proxy import TcpProxy

FOR_S = 60.0
QUICK_FOR_S = 8.0
FLAT_BYTES = 50 << 20
Outage = Callable[[], AbstractContextManager[None]]


def play(cell: Cell) -> None:
    """The source goes on changing meanwhile. Nothing becomes a dead letter, and the run goes on by itself."""
    outage = _outage(cell)
    cell.source.fill(40)
    cell.start()
    cell.rest()
    for _ in range(4):
        _change(cell)
        cell.rest()
    before = most = _memory_bytes(cell)
    spurious: set[str] = set()
    with outage():
        until = time.monotonic() + (QUICK_FOR_S if cell.setting.quick else FOR_S)
        while time.monotonic() < until:
            _change(cell)
            time.sleep(0.5)
            most = max(most, _memory_bytes(cell))
            spurious |= letters(cell.topics, cell.name)
    cell.tally.runs += 1
    cell.rest(time.monotonic())
    cell.expect(not spurious, f"an outage made dead letters of {sorted(spurious)[:5]}")
    cell.expect(cell.running.poll() is None, f"the run ended with exit code {cell.running.poll()}")
    cell.expect(most - before <= FLAT_BYTES, f"memory grew by {(most - before) >> 20} MB")
    cell.note(f"memory grew by {(most - before) >> 20} MB")
    cell.stop()
    cell.finish()


def _change(cell: Cell) -> None:
    """Some documents anew, all of them good."""
    for key in cell.source.rng.sample(cell.source.names(), 4):
        cell.source.write(key, cell.source.document(3))


def _memory_bytes(cell: Cell) -> int:
    """Memory of all processes of the run."""
    return sum(process.memory_info().rss for process in (*cell.stages(), psutil.Process(cell.running.pid)))


def _outage(cell: Cell) -> Outage:
    """What makes the cell's store be down for as long as it is entered."""
    if isinstance(cell.store, SqliteStore):
        return lambda: _held(cell.store.seen_as)
    if isinstance(cell.store, PostgresStore):
        return _postgres(cell, cell.store)
    proxy = in_front(cell)
    assert proxy is not None
    drawn = random.Random(f"{cell.setting.seed}/{cell.setting}")

    @contextmanager
    def outage() -> Iterator[None]:
        proxy.script = lambda _method, _path, _body: Fault(status=drawn.choice((500, 503)))
        yield
        proxy.script = lambda _method, _path, _body: None

    return outage


def _postgres(cell: Cell, store: PostgresStore) -> Outage:
    dsn = urlsplit(store.dsn)
    proxy = TcpProxy(str(dsn.hostname), int(dsn.port or 5432))
    cell.closing(proxy.close)
    cell.reach_store_at(dsn._replace(netloc=f"{dsn.username}:{dsn.password}@127.0.0.1:{proxy.port}").geturl())

    @contextmanager
    def outage() -> Iterator[None]:
        proxy.refusing = True
        yield
        proxy.refusing = False

    return outage


@contextmanager
def _held(path: str) -> Iterator[None]:
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


ROW = Row(
    "F10",
    "the sink is down for a minute, with 500 and 503 from Qdrant",
    play,
    where=CHAIN,
    quick=[("chain", "embedded", "qdrant")],
    dup=0,
    ttr_s=40.0,
)
