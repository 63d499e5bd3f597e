"""F32: a sink that takes a hundredth of what the source gives, for two minutes."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, suppress

import psutil

from tests.faults.cell import Cell
from tests.faults.http_proxy import Fault
from tests.faults.matrix import CHAIN, Row
from tests.faults.oracle import SINKS
from tests.faults.refusing import in_front
from tests.faults.stores import PostgresStore, SqliteStore

FOR_S = 120.0
QUICK_FOR_S = 15.0
LOOK_S = 4.0
DOCUMENTS = 100
PASSAGES = 20
PASSAGE_CHARS = 2000
CREDIT = 10_000
"""Documents in flight in a stage, at most."""
BOUND_BYTES = 100 << 20
Slow = Callable[[], AbstractContextManager[None]]


def play(cell: Cell) -> None:
    """Memory and what is in flight stay bounded; once the sink is fast again, it soon holds everything."""
    slow = _slow(cell)
    for number in range(DOCUMENTS):
        cell.source.write(f"d{number:03}.txt", _large(cell))
    cell.start()
    cell.rest()
    before = most = _memory_bytes(cell)
    in_flight = 0
    with slow():
        until = time.monotonic() + (QUICK_FOR_S if cell.setting.quick else FOR_S)
        versions = 0
        while time.monotonic() < until:
            look = time.monotonic() + LOOK_S
            while time.monotonic() < look:
                cell.source.write(f"d{versions % DOCUMENTS:03}.txt", _large(cell))
                versions += 1
                time.sleep(0.005)
            now = _memory_bytes(cell)
            most = {pid: max(most.get(pid, 0), n_bytes) for pid, n_bytes in now.items()}
            in_flight = max(in_flight, _in_flight(cell))
    cell.tally.runs += 1
    cell.rest(time.monotonic())
    grown = max(n_bytes - before.get(pid, 0) for pid, n_bytes in most.items())
    cell.expect(before.keys() == most.keys(), "a process was started again")
    cell.expect(grown <= BOUND_BYTES, f"the memory of a process grew by {grown >> 20} MB")
    cell.expect(in_flight <= CREDIT, f"{in_flight} documents were in flight in a stage")
    read = len(cell.topics.records(f"{cell.name}.files"))
    cell.note(f"{versions} versions, {read} read, +{grown >> 20} MB, {in_flight} in flight")
    cell.stop()
    cell.finish()


def _large(cell: Cell) -> str:
    passages = (cell.source.passage() for _ in range(PASSAGES))
    return "\n\n".join((one * (PASSAGE_CHARS // len(one))) for one in passages)


def _memory_bytes(cell: Cell) -> Mapping[int, int]:
    """Memory of each process of the run."""
    family = (*cell.stages(), psutil.Process(cell.running.pid))
    return {process.pid: process.memory_info().rss for process in family}


def _in_flight(cell: Cell) -> int:
    """Most documents in flight in a stage now, as `nvisy status` has it."""
    asked = subprocess.run(
        [sys.executable, "-m", "nvisy", "status", "graph.json", "--json"],
        cwd=cell.folder,
        env=cell.environ,
        capture_output=True,
        check=True,
    )
    return max(stage["in_flight"] or 0 for stage in json.loads(asked.stdout)["stages"])


def _slow(cell: Cell) -> Slow:
    """What makes the cell's store slow for as long as it is entered."""
    store = cell.store
    if isinstance(store, SqliteStore):
        return lambda: _held_mostly(store.seen_as)
    if isinstance(store, PostgresStore):
        return lambda: _sleeping(cell, store)
    proxy = in_front(cell)
    assert proxy is not None

    @contextmanager
    def slow() -> Iterator[None]:
        proxy.script = lambda _method, _path, _body: Fault("pass", delay_s=1.0)
        yield
        proxy.script = lambda _method, _path, _body: None

    return slow


@contextmanager
def _held_mostly(path: str) -> Iterator[None]:
    """Another program has the file most of the time."""
    ended = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as connection:
            while not ended.is_set():
                with suppress(sqlite3.OperationalError):  # the writer has it
                    connection.execute("BEGIN IMMEDIATE")
                    ended.wait(2.0)
                    connection.execute("ROLLBACK")
                time.sleep(0.02)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _sleeping(cell: Cell, store: PostgresStore) -> Iterator[None]:
    """Every record takes its time."""
    import psycopg

    with psycopg.connect(store.dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION sleeping() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END'"
        )
        for sink in SINKS[cell.setting.shape]:
            table = f'"{sink}__1"'
            connection.execute(
                f"CREATE TRIGGER sleeping BEFORE INSERT OR UPDATE ON {table}"  # type: ignore[arg-type]
                " FOR EACH ROW EXECUTE FUNCTION sleeping()"
            )
        yield
        connection.execute("DROP FUNCTION sleeping CASCADE")


ROW = Row("F32", "a slow sink behind a fast source", play, where=CHAIN, dup=None, ttr_s=60.0)
