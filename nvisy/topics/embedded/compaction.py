"""Removes records that a later one of their key has replaced, in steps so short that nobody waits for them.

A file is compacted when twice as much of it is in use as was left the last time: a pass costs what was written since,
and the file never holds much more than twice what it has to. Whatever dies in the middle leaves a topic that has been
compacted in part; the next pass finds what is left. Readers go on meanwhile, each page in a transaction of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from nvisy.fault_points import Point, reach
from nvisy.topics.embedded.sqlite import immediate, rows, said_plainly
from nvisy.topics.embedded.topic_file import OFFSET_BITS, TopicFile

SMALL_BYTES = 8 * 1024 * 1024
"""Less than that is not worth a pass."""

_STEP_ROWS = 500
_STEP_BYTES = 4 * 1024 * 1024
_STEP_PAGES = 256


def pays(file: TopicFile) -> bool:
    """Whether about half of what the file holds may have been replaced; takes microseconds."""
    with said_plainly(file.path):
        left_bytes = int(file.db.pragma("user_version")) * int(file.db.pragma("page_size"))
        return _used_pages(file) * int(file.db.pragma("page_size")) >= 2 * left_bytes + SMALL_BYTES


def compact(file: TopicFile, is_wanted: Callable[[], bool] = lambda: True) -> int:
    """Remove every record that a later one of its key and partition has replaced; how many went.

    Args:
        file: The topic, over a connection that nothing else uses meanwhile.
        is_wanted: Asked between two steps. Once it says no, the rest waits for another time.

    Raises:
        Unreachable: The file cannot be written, or somebody has locked it for too long.
        Refused: The topic was deleted or made anew meanwhile.
    """
    removed = 0
    with said_plainly(file.path):
        file.db.execute("CREATE TEMP TABLE IF NOT EXISTS seen (key BLOB PRIMARY KEY) WITHOUT ROWID")
        for partition, end in sorted(file.ends().items()):
            file.db.execute("DELETE FROM seen")
            for replaced in _replaced(file, partition, end):
                if not is_wanted():
                    return removed
                if replaced:
                    _remove(file, replaced)
                    removed += len(replaced)
        file.db.execute("DROP TABLE seen")
        while is_wanted() and 2 * int(file.db.pragma("freelist_count")) > int(file.db.pragma("page_count")):
            _give_back(file)
        with immediate(file.db):
            file.refuse_if_replaced()
            file.db.execute(f"PRAGMA user_version = {_used_pages(file)}")
    return removed


def _replaced(file: TopicFile, partition: int, end: int) -> Iterator[list[int]]:
    """Rows of a partition that later ones have replaced, step by step from its end to its beginning."""
    base = partition << OFFSET_BITS
    at = base + end
    while True:
        with file.db:  # one transaction for everything that is noted
            step = rows(
                file.db,
                "SELECT row, key, length(value) FROM record WHERE row >= ? AND row < ? ORDER BY row DESC LIMIT ?",
                (base, at, _STEP_ROWS),
            )
            replaced, room = [], _STEP_BYTES
            for row, key, n_bytes in step:
                at = row
                if key is not None and not _is_first(file, key):
                    replaced.append(row)
                    room -= n_bytes or 0
                if room <= 0:
                    break
        if not step:
            return
        yield replaced


def _is_first(file: TopicFile, key: bytes) -> bool:
    """Whether the key has not been seen in the partition, which it has from now on."""
    file.db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,))
    return file.db.changes() > 0


def _remove(file: TopicFile, replaced: list[int]) -> None:
    began = time.monotonic()
    with immediate(file.db):
        file.refuse_if_replaced()
        file.db.executemany("DELETE FROM record WHERE row = ?", ((row,) for row in replaced))
        reach(Point.COMPACTING)
    reach(Point.COMPACTED)
    _let_others_write(began)


def _give_back(file: TopicFile) -> None:
    """Some pages that are free, to the system."""
    began = time.monotonic()
    with immediate(file.db):
        file.refuse_if_replaced()
        rows(file.db, f"PRAGMA incremental_vacuum({_STEP_PAGES})")
    _let_others_write(began)


def _let_others_write(began: float) -> None:
    """Those who wait for the lock try again only now and then: they get as much time as we took."""
    time.sleep(max(0.001, time.monotonic() - began))


def _used_pages(file: TopicFile) -> int:
    return int(file.db.pragma("page_count")) - int(file.db.pragma("freelist_count"))
