"""F12: some documents of a batch are refused by the sink for good."""

from __future__ import annotations

import time

from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.oracle import REFUSED
from tests.faults.refusing import in_front, refuse


def play(cell: Cell) -> None:
    """Exactly those are dead letters, in every way they can lie in a batch, and the others arrive."""
    proxy = in_front(cell)
    source = cell.source
    source.fill(30)
    cell.start()
    cell.rest()
    refuse(cell, proxy)
    names = source.names()
    patterns = {
        "the first": names[:1],
        "two side by side": names[8:10],
        "every fifth": names[::5],
        "all": names,
        "none any more": [],
    }
    for bad in patterns.values():
        cell.tally.runs += 1
        began = time.monotonic()
        for name in names:
            text = source.document(2)
            source.write(name, f"{text} {REFUSED}" if name in bad else text)
        cell.rest(began)
        cell.expect(cell.oracle.letters() == set(bad), "the test asks for something else than it says")
    cell.stop()
    cell.finish()


ROW = Row("F12", "a sink refuses k of n documents", play, dup=0, quick=[("chain", "embedded", "qdrant")])
