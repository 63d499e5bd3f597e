"""F27: documents that are deleted, come back, are deleted while something is tried again, and large ones."""

from __future__ import annotations

import time

from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.oracle import BAD

LARGE = 10_000


def play(cell: Cell) -> None:
    """Nothing that was deleted is resurrected."""
    cell.source.fill(30)
    cell.start()
    cell.rest()
    for harm in (_storm, _delete_and_bring_back, _delete_while_failing, _delete_what_is_bad, _delete_large):
        cell.tally.runs += 1
        began = time.monotonic()
        harm(cell)
        cell.rest(began)
    cell.stop()
    cell.finish()


def _storm(cell: Cell) -> None:
    for key in cell.source.rng.sample(cell.source.names(), 20):
        cell.source.delete(key)


def _delete_and_bring_back(cell: Cell) -> None:
    """In all orders, and faster than a listing is made."""
    source = cell.source
    for number, key in enumerate(source.names()[:8]):
        before = source.text(key)
        source.delete(key)
        if number % 2:
            time.sleep(0.2)
        source.write(key, before if number % 4 < 2 else source.document(2))
        if number % 3 == 0:
            source.delete(key)


def _delete_while_failing(cell: Cell) -> None:
    """The model is down; a version waits for it, and its document is deleted meanwhile."""
    source = cell.source
    source.fill(10)
    cell.rest()
    cell.model.fail("unavailable")
    try:
        for key in source.names()[:5]:
            source.write(key, source.document(2))
        time.sleep(0.6)
        for key in source.names()[:3]:
            source.delete(key)
        time.sleep(0.6)
    finally:
        cell.model.fail(None)


def _delete_what_is_bad(cell: Cell) -> None:
    """A dead letter of a document that is gone is closed."""
    source = cell.source
    source.write("bad.txt", f"{BAD} from the start")
    first, second = source.names()[1:3]
    source.write(first, f"{BAD} now")
    source.write(second, f"{BAD} too")
    cell.rest()
    source.delete("bad.txt")
    source.delete(first)
    source.write(second, source.document(1))


def _delete_large(cell: Cell) -> None:
    """Thousands of records go at once."""
    passages = 300 if cell.setting.quick else LARGE
    cell.source.write("large.txt", "\n\n".join(f"Large passage {n}." for n in range(passages)))
    cell.rest(timeout_s=120)
    cell.source.delete("large.txt")


ROW = Row("F27", "delete storms, deletes and returns, a document of 10,000 records", play, dup=32)
