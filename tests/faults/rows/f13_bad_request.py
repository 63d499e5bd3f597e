"""F13: a sink answers 400 or 413 to a batch with a bad document in it; a model of another dimension."""

from __future__ import annotations

import math
import time

from tests.faults.cell import Cell
from tests.faults.http_proxy import HttpProxy
from tests.faults.matrix import CHAIN, Row
from tests.faults.oracle import REFUSED
from tests.faults.refusing import in_front, refuse
from tests.faults.stores import held

DOCUMENTS = 32


def play(cell: Cell) -> None:
    """The batch is halved down to the bad ones; a collection of another dimension is not touched."""
    proxy = in_front(cell)
    cell.source.fill(DOCUMENTS)
    cell.run()
    cell.judge()
    for status in (400, 413) if proxy else ():
        _halved(cell, proxy, status)
    _other_dimension(cell)


def _halved(cell: Cell, proxy: HttpProxy, status: int) -> None:
    source = cell.source
    refuse(cell, proxy, status)
    bad = source.rng.sample(source.names(), 2)
    for name in source.names():
        text = source.document(1)
        source.write(name, f"{text} {REFUSED}" if name in bad else text)
    before = len(proxy.calls)
    cell.tally.runs += 1
    began = time.monotonic()
    cell.run()
    cell.rest(began)
    calls = sum(call.path.split("?")[0].endswith("__1/points/batch") for call in proxy.calls[before:])
    bar = 2 * len(bad) * math.ceil(math.log2(DOCUMENTS)) + len(bad)
    cell.expect(
        calls <= bar, f"{calls} calls for {len(bad)} of {DOCUMENTS} documents that are refused with {status}"
    )
    cell.note(f"{calls} calls, bar {bar}")
    proxy.script = lambda _method, _path, _body: None
    for name in bad:
        source.write(name, source.document(1))
    cell.run()
    cell.judge()


def _other_dimension(cell: Cell) -> None:
    before = held(cell.store, "index")
    embed = next(node for node in cell.graph["nodes"] if node["id"] == "embed")
    embed["params"]["dimensions"] = 4
    cell.model.dimensions = 4
    cell.tally.runs += 1
    code = cell.ended(cell.spawn(), 60)
    said = cell.said()
    cell.expect(
        code not in (0, 4) and "dimensions" in said, f"another dimension: exit code {code}; it said: {said}"
    )
    cell.expect(held(cell.store, "index") == before, "a collection of another dimension was written to")
    embed["params"]["dimensions"] = cell.model.dimensions = 8
    cell.source.edit()
    cell.finish(repeats=True)


ROW = Row(
    "F13", "400, 413, another dimension", play, where=CHAIN, quick=[("chain", "embedded", "qdrant")], dup=0
)
