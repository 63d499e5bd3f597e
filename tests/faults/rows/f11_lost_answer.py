"""F11: a sink carries a write out, and its answer is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

from tests.faults.cell import Cell
from tests.faults.http_proxy import Fault
from tests.faults.matrix import Row
from tests.faults.refusing import in_front
from tests.faults.stores import PostgresStore
from tests.faults.tcp_proxy import TcpProxy

LOSSES = 6
Lose = Callable[[int], Callable[[], bool]]
"""Loses one answer from now on; the function returned says whether it was lost."""


def play(cell: Cell) -> None:
    """One answer is lost in every round of edits; on Qdrant now that of the records, now that of the heads."""
    lose = _through_postgres(cell) if isinstance(cell.store, PostgresStore) else _through_http(cell)
    cell.source.fill(24)
    cell.start()
    cell.rest()
    for number in range(2 if cell.setting.quick else LOSSES):
        lost = lose(number)
        began = time.monotonic()
        cell.source.edit()
        cell.rest(began)
        until = time.monotonic() + 10
        while not lost() and time.monotonic() < until:
            cell.source.edit()
            cell.rest(began)
        cell.expect(bool(lost()), "no answer was lost")
        cell.tally.runs += 1
        cell.expect(cell.running.poll() is None, f"the run ended, with exit code {cell.running.poll()}")
    cell.stop()
    cell.finish()


def _through_postgres(cell: Cell) -> Lose:
    """The answer to a COMMIT, and with it the connection."""
    assert isinstance(cell.store, PostgresStore)
    dsn = urlsplit(cell.store.dsn)
    proxy = TcpProxy(str(dsn.hostname), int(dsn.port or 5432))
    cell.closing(proxy.close)
    cell.reach_store_at(dsn._replace(netloc=f"{dsn.username}:{dsn.password}@127.0.0.1:{proxy.port}").geturl())

    def lose(_number: int) -> Callable[[], bool]:
        before = proxy.lost
        proxy.lose = lambda sent: proxy.lost == before and b"COMMIT" in sent
        return lambda: proxy.lost > before

    return lose


def _through_http(cell: Cell) -> Lose:
    """The answer to a batch of writes."""
    proxy = in_front(cell)
    assert proxy is not None

    def lose(number: int) -> Callable[[], bool]:
        which = "__heads/points/batch" if number % 2 else "__1/points/batch"
        left = [1]

        def script(_method: str, path: str, _body: bytes) -> Fault | None:
            if which not in path or not left[0]:
                return None
            left[0] -= 1
            return Fault("lose")

        proxy.script = script
        return lambda: not left[0]

    return lose


ROW = Row(
    "F11",
    "a sink applies a write, its answer is lost",
    play,
    where=[("chain", log, store) for log in ("embedded", "kafka") for store in ("pgvector", "qdrant")],
    quick=[("chain", "embedded", "qdrant")],
    dup=0,
    ttr_s=20.0,
)
