"""SQLite as the embedded log uses it: opening, reading, writing in a transaction, saying what went wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw

from nvisy.errors import Refused, Unreachable

_log = logging.getLogger(__name__)

_BUSY_TIMEOUT_MS = 10_000
_WAL_LIMIT_BYTES = 64 * 1024 * 1024


def connect(path: Path, *, create: bool = False) -> apsw.Connection:
    """Open a file for reading and writing: WAL, and on disk before a commit returns."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    db = apsw.Connection(str(path), flags=flags)
    db.set_busy_timeout(_BUSY_TIMEOUT_MS)
    if create:
        db.execute("PRAGMA page_size = 8192")
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    return db


def close(db: apsw.Connection) -> None:
    """Close a connection. One in which another thread still waits for a lock is left to it: nothing is lost by that."""
    try:
        db.close()
    except apsw.ThreadingViolationError:
        _log.debug("a file is in use by another thread and stays open")


def rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Everything a query returns."""
    return db.execute(query, values).fetchall()


def scrub(db: apsw.Connection) -> bool:
    """Write a file anew, so that nothing that was deleted is left in it, nor in the log beside it.

    False where another process reads, so that its log has to stay: what was deleted may still be in that.
    """
    db.execute("VACUUM")
    busy: int = rows(db, "PRAGMA wal_checkpoint(TRUNCATE)")[0][0]
    return not busy


@contextmanager
def immediate(db: apsw.Connection) -> Iterator[None]:
    """A write transaction, holding the file's write lock from the start; rolled back on any exception."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """Turn what SQLite raises about the file at `path` into our errors, with what to do about it."""
    try:
        yield
    except apsw.FullError as error:
        raise Unreachable(
            f"no space left to write {path}: free some and run again; nothing was written"
        ) from error
    except apsw.BusyError as error:
        raise Unreachable(
            f"{path} has been locked by another process for {_BUSY_TIMEOUT_MS // 1000} s: "
            "a stopped or hanging run must be ended first"
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise Refused(
            f"{path} is damaged or no log file ({error}): restore it, or remove it to start over"
        ) from error
    except apsw.Error as error:
        raise Unreachable(f"{path} cannot be read or written: {error}") from error
