"""The embedding cache: what a model answered for a text, kept so that it is not asked again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zlib import crc32

import apsw
import numpy as np
import orjson
from numpy.typing import NDArray

from nvisy.errors import Unreachable

_log = logging.getLogger(__name__)

_FORMAT = 1
_CHECKSUM_BYTES = 4  # SQLite does not notice a changed bit in a vector
_EVICTED = 8  # when the file is full, one in so many goes, oldest first
_LOCKED_S = 10.0
_TURN_S = 0.01
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError)

Vectors = Mapping[str, NDArray[np.float32]]


class EmbeddingCache:
    """Vectors of one model by the content hash of their text, in a SQLite file that any number of processes share.

    Processes that fill it at once lose nothing: each waits for its turn, which takes milliseconds.

    The cache saves cost and holds nothing that could not be made again. So it never raises: a damaged file is
    replaced, one that cannot be used is left alone for the rest of the process, and vectors that found the file
    locked for ten seconds are not kept, each with a line in the log.
    """

    def __init__(
        self,
        path: Path,
        model: str,
        dimensions: int,
        *,
        max_bytes: int = 4 * 2**30,
        locked_s: float = _LOCKED_S,
    ) -> None:
        """The cache in file `path`, which is created when it is missing.

        Args:
            path: The file, which models share.
            model: Name and revision, `local/wordllama@1`: vectors of another revision are not found.
            dimensions: Length of the vectors.
            max_bytes: Size of the file from which the oldest vectors make room for new ones.
            locked_s: How long a process that holds the file locked is waited for.
        """
        self._path = path
        self._suffix = f"/{model}/{dimensions}"
        self._vector_bytes = 4 * dimensions
        self._max_bytes = max_bytes
        self._locked_s = locked_s
        self._connection: apsw.Connection | None = None
        self._open()

    def get_many(self, hashes: Sequence[str]) -> Vectors:
        """The vectors that are known, read-only float32 of shape (dimensions,), by content hash."""
        if self._connection is None:
            return {}
        keys = orjson.dumps([value + self._suffix for value in hashes])
        query = "SELECT key, vector FROM vectors WHERE key IN (SELECT value FROM json_each(?))"
        try:
            rows: list[Any] = self._connection.execute(query, (keys,)).fetchall()
        except apsw.Error as error:
            self._recover(error)
            return {}
        end = -len(self._suffix)
        return {key[:end]: self._unpacked(packed) for key, packed in rows if self._is_sound(packed)}

    def put_many(self, vectors: Vectors) -> None:
        """Keep vectors by content hash, in one transaction."""
        if self._connection is None or not vectors:
            return
        rows = [(value + self._suffix, _packed(vector)) for value, vector in vectors.items()]
        try:
            with _writing(self._connection):
                self._make_room(self._connection)
                self._connection.executemany(
                    "INSERT OR REPLACE INTO vectors (key, vector) VALUES (?, ?)", rows
                )
        except apsw.Error as error:
            self._recover(error)

    def close(self) -> None:
        """Close the file. May be called twice."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _is_sound(self, packed: bytes) -> bool:
        vector, checksum = packed[: self._vector_bytes], packed[self._vector_bytes :]
        return checksum == crc32(vector).to_bytes(_CHECKSUM_BYTES, "little")

    def _unpacked(self, packed: bytes) -> NDArray[np.float32]:
        return np.frombuffer(packed, "<f4", self._vector_bytes // 4)

    def _make_room(self, connection: apsw.Connection) -> None:
        pages, unused, page_bytes = (
            connection.pragma(name) for name in ("page_count", "freelist_count", "page_size")
        )
        if (pages - unused) * page_bytes > self._max_bytes:
            # Rows are numbered in the order in which they came, so their numbers tell how many there are.
            connection.execute(
                "DELETE FROM vectors WHERE rowid <= "
                "(SELECT min(rowid) + (max(rowid) - min(rowid)) / ? FROM vectors)",
                (_EVICTED,),
            )

    def _open(self) -> None:
        try:
            self._connection = _opened(self._path, self._locked_s)
        except (apsw.Error, OSError) as error:
            self._recover(error)

    def _recover(self, error: Exception) -> None:
        """Go on after a failure: later, with a new file, or without a cache."""
        if isinstance(error, apsw.BusyError) and self._connection is not None:
            _log.warning("embedding cache %s stays locked, going on without these vectors", self._path)
            return
        self.close()
        if not isinstance(error, _DAMAGED):
            _log.warning("embedding cache %s cannot be used, going on without it: %s", self._path, error)
            return
        _log.warning("embedding cache %s is damaged, starting a new one: %s", self._path, error)
        try:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._path}{suffix}").unlink(missing_ok=True)
            self._connection = _opened(self._path, self._locked_s)
        except (apsw.Error, OSError) as second:
            _log.warning("embedding cache %s cannot be replaced, going on without: %s", self._path, second)


def erase(path: Path, hashes: Sequence[str] | None, *, locked_s: float = _LOCKED_S) -> int:
    """Remove the vectors of these content hashes, of every model, from the cache in a file; without any, all.

    The file is written anew, so that nothing of them is left in it.

    Returns:
        How many went.

    Raises:
        Unreachable: Another process holds the file, or it cannot be written.
    """
    if not path.exists():
        return 0
    try:
        connection = _connected(path, locked_s)
        try:
            n_gone = _removed(connection, hashes)
            connection.execute("VACUUM")
            if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()[0][0]:
                raise apsw.BusyError("another process reads it")
        finally:
            connection.close()
    except apsw.Error as error:
        raise Unreachable(f"embedding cache {path}: {error}; end what uses it, and do it again") from error
    return n_gone


def _removed(connection: apsw.Connection, hashes: Sequence[str] | None) -> int:
    """How many rows of these hashes there were; a key is a hash, a slash and the model."""
    before = connection.total_changes()
    with _writing(connection):
        if hashes is None:
            connection.execute("DELETE FROM vectors WHERE true")
        else:
            ranges = ((f"{one}/", f"{one}0") for one in hashes)  # 0 is what comes after the slash
            connection.executemany("DELETE FROM vectors WHERE key > ? AND key < ?", ranges)
    return connection.total_changes() - before


def _packed(vector: NDArray[np.float32]) -> bytes:
    data = vector.astype("<f4", copy=False).tobytes()
    return data + crc32(data).to_bytes(_CHECKSUM_BYTES, "little")


@contextmanager
def _writing(connection: apsw.Connection) -> Iterator[None]:
    """Hold the file's write lock from the start: one that begins by reading may not wait for it later."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _opened(path: Path, locked_s: float) -> apsw.Connection:
    """Open the file, as soon as nobody else is just making it: SQLite does not wait for that by itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + locked_s
    while True:
        try:
            return _connected(path, locked_s)
        except apsw.BusyError:
            if time.monotonic() >= until:
                raise
            time.sleep(_TURN_S)


def _connected(path: Path, locked_s: float) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    try:
        connection.set_busy_timeout(int(locked_s * 1000))
        connection.pragma("journal_mode", "wal")
        connection.pragma("synchronous", "normal")
        with _writing(connection):
            found = connection.pragma("user_version")
            if found not in (0, _FORMAT):
                raise apsw.NotADBError(f"its format is {found}, and this version reads {_FORMAT}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS vectors "
                "(number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, vector BLOB NOT NULL)"
            )
            connection.pragma("user_version", _FORMAT)
    except BaseException:
        connection.close()
        raise
    return connection
