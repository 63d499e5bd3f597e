"""F27: documents that are deleted, come back, are deleted while something is tried again, and large ones."""

from __future__ import annotations

import time
from contextlib import closing

from nvisy.fault_points import Point
from nvisy.topics.embedded import EmbeddedLog
from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.oracle import BAD
from tests.faults.orders import Place
from tests.faults.runs import end

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
    if cell.setting.log == "embedded":
        cell.tally.runs += 1
        _compact_behind_a_crash(cell)
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


def _compact_behind_a_crash(cell: Cell) -> None:
    """A sink dies in the middle of a version, which is compacted away before anybody reads it again."""
    source = cell.source
    names = source.names()[:8]
    cell.orders.give(Place("index", Point.SINK_RECORDS), "stop", run=0)
    for name in names:
        source.write(name, source.document(5))
    if cell.taken(30) is None:
        cell.fail("the sink was not reached")
    topic = f"{cell.name}.embed"
    before = len(cell.topics.records(topic))
    for name in names[:4]:
        source.write(name, source.document(1))
    for name in names[4:]:
        source.delete(name)
    until = time.monotonic() + 30 * cell.slowness
    while len(cell.topics.records(topic)) < before + len(names) and time.monotonic() < until:
        time.sleep(0.05)
    end(cell.running)
    with closing(EmbeddedLog(cell.state / "log")) as log:
        gone = sum(log.compact(topic) for topic in cell.topics.names())
    cell.expect(gone > 0, "nothing was compacted")
    began = time.monotonic()
    cell.start()
    cell.rest(began)


ROW = Row("F27", "delete storms, deletes and returns, a document of 10,000 records", play, dup=32)
