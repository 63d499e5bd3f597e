"""Removes records for good: also from pages that are free, and from the log that SQLite writes ahead.

Compaction leaves what it removes in pages that are used again some day. Here the file is written anew.
"""

from __future__ import annotations

from collections.abc import Collection

from nvisy.topics.embedded.control_file import ControlFile
from nvisy.topics.embedded.sqlite import immediate, rows, said_plainly, scrub
from nvisy.topics.embedded.topic_file import OFFSET_BITS, TopicFile
from nvisy.topics.log import Erased

_STEP_ROWS = 5_000


def erase(file: TopicFile, keys: Collection[bytes]) -> Erased:
    """Remove every record of these keys but the last of each in its partition, and write the file anew.

    Args:
        file: The topic, over a connection that nothing else uses meanwhile.
        keys: As they stand in the records.
    """
    with said_plainly(file.path):
        meant = _rows_of(file, frozenset(keys))
        with immediate(file.db):
            file.refuse_if_replaced()
            file.db.executemany("DELETE FROM record WHERE row = ?", ((row,) for row in meant))
        return Erased(len(meant), 0, "" if scrub(file.db) else _read_by_others(file.path.name))


def scrub_control(file: ControlFile) -> str:
    """Write `control.db` anew; why that could not be done, or empty."""
    with said_plainly(file.path):
        return "" if scrub(file.db) else _read_by_others(file.path.name)


def _rows_of(file: TopicFile, keys: frozenset[bytes]) -> list[int]:
    """Rows of these keys, without the last of each in each partition."""
    last: dict[tuple[int, bytes], int] = {}
    meant: list[int] = []
    at = -1
    while step := rows(
        file.db, "SELECT row, key FROM record WHERE row > ? ORDER BY row LIMIT ?", (at, _STEP_ROWS)
    ):
        at = step[-1][0]
        for row, key in step:
            if key in keys:
                place = (row >> OFFSET_BITS, key)
                if place in last:
                    meant.append(last[place])
                last[place] = row
    return meant


def _read_by_others(name: str) -> str:
    return (
        f"another process reads {name}, whose write-ahead log may hold them until it ends: do it again then"
    )
