"""A table was emptied: the deletes that this stands for, of every key that the log holds of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import apsw

from nvisy.errors import Refused, Rejected
from nvisy.runtime.codecs import ChangeDecoder
from nvisy.topics.log import Log, LogRecord

_PAGE = 1000

_logger = logging.getLogger(__name__)

LiveKeys = Callable[[str], Iterator[str]]
"""The keys below a prefix that were not deleted."""


def live_keys(log: Log, topic: str, changes: ChangeDecoder, node: str) -> LiveKeys:
    """Finds out what the origin topic of source `node` holds; reads it from the beginning, in constant memory."""

    def below(prefix: str) -> Iterator[str]:
        if not topic:
            raise Refused(
                f"source {node}: all of {prefix.rstrip('/')} was emptied, and without a topic behind the source nobody "
                'knows which documents that were; take the "topic": false from the graph and run again'
            )
        return _paged(_gathered(log, topic, changes, f"{node}/{prefix}".encode()))

    return below


def _gathered(log: Log, topic: str, changes: ChangeDecoder, key_prefix: bytes) -> apsw.Connection:
    found = apsw.Connection("")  # a file of its own, which goes with the connection
    found.execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
    found.execute("CREATE TABLE live (key TEXT PRIMARY KEY) WITHOUT ROWID")
    with found:
        for record in log.scan(topic):
            if record.key is None or not record.key.startswith(key_prefix):
                continue
            statement = "INSERT OR IGNORE INTO live VALUES (?)"
            if _is_delete(changes, record):
                statement = "DELETE FROM live WHERE key = ?"
            found.execute(statement, (record.key.decode().partition("/")[2],))
    return found


def _is_delete(changes: ChangeDecoder, record: LogRecord) -> bool:
    try:
        return changes.decode(record).op == "delete"
    except Rejected as error:  # whatever it was, its key is to be gone
        _logger.warning("topic %s holds a record that is no change of ours: %s", record.topic, error)
        return False


def _paged(found: apsw.Connection) -> Iterator[str]:
    try:
        last = ""
        while page := [
            str(key)
            for (key,) in found.execute(
                "SELECT key FROM live WHERE key > ? ORDER BY key LIMIT ?", (last, _PAGE)
            )
        ]:
            yield from page
            last = page[-1]
    finally:
        found.close()
