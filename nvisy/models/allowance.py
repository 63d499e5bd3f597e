"""How much of a connection's limits is used up, in a SQLite file that all processes of this machine share.

Calls get turns ahead of time, at an even pace a little below the limit, and wait for theirs. The tokens of the last
minute are kept besides, so that no minute holds more than the limit, however unevenly they come. A process that dies
leaves a turn unused, and its calls in flight are struck off when somebody needs their place.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import apsw

from nvisy.errors import Fatal, Transient

MINUTE_S = 60.0
PACE = 0.98
"""Part of a limit that is used: the rest is for calls that arrive closer together than they were sent."""
REQUEST_SLACK_S = 0.6
TOKEN_SLACK_S = 3.0
"""How far a call may run ahead of the even pace, to make up for one that was late, or small."""
SLICE_S = 0.25
AHEAD_S = 5.0
"""How long before its time a turn is given."""
SLOT_S = 600.0
POLL_S = 0.01
EASED = 0.7
EASE_S = 120.0
_BUSY_MS = 10_000
_BUSY_PAUSE_S = 0.01
_FIRST_TOKENS_PER_CHAR = 0.25
_WEIGHT = 0.2

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS pace (
    connection TEXT PRIMARY KEY, next_request REAL NOT NULL, next_token REAL NOT NULL, paused_until REAL NOT NULL,
    eased REAL NOT NULL, eased_at REAL NOT NULL, tokens_per_char REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    connection TEXT NOT NULL, slice INTEGER NOT NULL, tokens REAL NOT NULL, PRIMARY KEY (connection, slice)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS calls (
    id INTEGER PRIMARY KEY, connection TEXT NOT NULL, host TEXT NOT NULL, pid INTEGER NOT NULL, until REAL NOT NULL
);
"""


class Limited(Protocol):
    """The limits: `nvisy.models.limits.Limits`."""

    @property
    def requests_per_minute(self) -> int | None: ...  # noqa: D102
    @property
    def tokens_per_minute(self) -> int | None: ...  # noqa: D102
    @property
    def max_in_flight(self) -> int: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Grant:
    """A call's turn.

    Attributes:
        call: Its row among the calls in flight.
        at: When it may be made, in seconds of the clock.
        chars: Characters that are sent.
        tokens: Tokens that this was taken for.
    """

    call: int
    at: float
    chars: int
    tokens: float


@dataclass(slots=True)
class _Pace:
    next_request: float = 0.0
    next_token: float = 0.0
    paused_until: float = 0.0
    eased: float = 1.0
    eased_at: float = 0.0
    tokens_per_char: float = _FIRST_TOKENS_PER_CHAR

    def speed(self, now: float) -> float:
        """Part of the limits that is used; comes back to 1 within two minutes of quiet."""
        return min(1.0, self.eased + max(0.0, now - self.eased_at) / EASE_S)


class Allowance:
    """The turns of one connection. Any number of threads, and of processes, may share it."""

    def __init__(
        self, path: Path, connection: str, limits: Limited, *, clock: Callable[[], float] = time.time
    ) -> None:
        """The turns of `connection` in the file `path`, which is created when it is missing."""
        self._clock = clock
        self._path = path
        self._connection = connection
        self._limits = limits
        self._host = socket.gethostname()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._database: apsw.Connection | None = None

    def take(self, chars: int) -> Grant:
        """Wait until a call with `chars` characters may be made.

        Raises:
            Transient: It was closed meanwhile.
        """
        while True:
            grant = self._reserved(chars)
            late_s = grant.at - self._clock()
            if late_s <= 0:
                return grant
            self._wait(late_s)
            if self._in_transaction(lambda: self._pace().paused_until) <= grant.at:
                return grant
            self.done(grant, 0)  # the server asked to be left alone since: another turn, behind that time

    def done(self, grant: Grant, tokens: int | None) -> None:
        """The call has ended. `tokens`: what it has cost, where the server says so."""

        def settle() -> None:
            self._execute("DELETE FROM calls WHERE id = ?", grant.call)
            if tokens is not None and grant.chars:
                self._correct(grant, tokens)

        if not self._closed.is_set():
            self._in_transaction(settle)

    def refused(self, retry_after_s: float) -> None:
        """The server asked for a pause: nobody calls it for so long, and all go slower for a while."""

        def ease() -> None:
            now, pace = self._clock(), self._pace()
            if now - pace.eased_at > 1:  # what was under way is refused together, and counts once
                pace.eased = max(0.1, pace.speed(now) * EASED)
                pace.eased_at = now
            pace.paused_until = max(pace.paused_until, now + retry_after_s)
            pace.next_request = max(pace.next_request, pace.paused_until + REQUEST_SLACK_S)
            pace.next_token = max(pace.next_token, pace.paused_until + TOKEN_SLACK_S)
            self._keep(pace)

        self._in_transaction(ease)

    def close(self) -> None:
        """Let go of the file; calls that wait end. May be called twice."""
        self._closed.set()
        with self._lock:
            self._let_go()

    def _reserved(self, chars: int) -> Grant:
        with self._turn:  # one thread of this process asks, the others wait behind it
            while True:
                found = self._in_transaction(lambda: self._reserve(chars))
                if isinstance(found, Grant):
                    return found
                self._wait(found)

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise Transient("the connection was closed while a call waited for its turn")

    def _reserve(self, chars: int) -> Grant | float:
        """The next turn, or seconds after which to ask again."""
        now, pace, limits = self._clock(), self._pace(), self._limits
        if pace.paused_until > now:
            return min(pace.paused_until - now, 1.0)
        speed = pace.speed(now)
        if not self._has_place(now, max(1, int(limits.max_in_flight * speed))):
            return POLL_S
        requests, tokens = limits.requests_per_minute, limits.tokens_per_minute
        per_request_s = MINUTE_S / (PACE * speed * requests) if requests else 0.0
        per_token_s = MINUTE_S / (PACE * speed * tokens) if tokens else 0.0
        cost = min(chars * pace.tokens_per_char, float(tokens)) if tokens else 0.0
        # No turn lies further ahead than this, unless the clock was set back.
        pace.next_request = min(pace.next_request, now + AHEAD_S + REQUEST_SLACK_S + per_request_s)
        pace.next_token = min(pace.next_token, now + AHEAD_S + TOKEN_SLACK_S + per_token_s * (tokens or 0))
        at = max(now, pace.next_request - REQUEST_SLACK_S, pace.next_token - TOKEN_SLACK_S)
        if tokens:
            at = self._room(at, cost, tokens)
        if at > now + AHEAD_S:
            self._keep(pace)
            return min(at - now - AHEAD_S, 1.0)
        pace.next_request = max(pace.next_request, at) + per_request_s
        pace.next_token = max(pace.next_token, at) + cost * per_token_s
        self._keep(pace)
        if cost:
            self._spend(at, cost)
        return self._granted(at, chars, cost)

    def _granted(self, at: float, chars: int, tokens: float) -> Grant:
        self._execute(
            "INSERT INTO calls (connection, host, pid, until) VALUES (?, ?, ?, ?)",
            self._connection,
            self._host,
            os.getpid(),
            at + SLOT_S,
        )
        assert self._database is not None
        return Grant(self._database.last_insert_rowid(), at, chars, tokens)

    def _has_place(self, now: float, max_in_flight: int) -> bool:
        """Whether fewer calls are in flight; those of processes that died are struck off first."""
        if self._in_flight() < max_in_flight:
            return True
        self._execute("DELETE FROM calls WHERE until < ?", now)
        for (pid,) in self._execute("SELECT DISTINCT pid FROM calls WHERE host = ?", self._host):
            if not _is_alive(pid):
                self._execute("DELETE FROM calls WHERE host = ? AND pid = ?", self._host, pid)
        return self._in_flight() < max_in_flight

    def _in_flight(self) -> int:
        ((calls,),) = self._execute("SELECT count(*) FROM calls WHERE connection = ?", self._connection)
        return int(calls)

    def _room(self, at: float, tokens: float, limit: int) -> float:
        """The first moment from `at` on when the minute before it leaves room for `tokens`."""
        now = self._clock()
        self._execute(
            "DELETE FROM spent WHERE connection = ? AND NOT slice BETWEEN ? AND ?",
            self._connection,
            int((now - 2 * MINUTE_S) / SLICE_S),
            int((now + 2 * AHEAD_S) / SLICE_S),
        )
        slices = self._execute(
            "SELECT slice, tokens FROM spent WHERE connection = ? AND slice > ? ORDER BY slice",
            self._connection,
            int((at - MINUTE_S) / SLICE_S) - 1,
        )
        used = sum(spent for _, spent in slices)
        for number, spent in slices:
            if used + tokens <= limit:
                break
            used -= spent
            at = max(at, (number + 1) * SLICE_S + MINUTE_S)
        return at

    def _spend(self, at: float, tokens: float) -> None:
        self._execute(
            "INSERT INTO spent VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET tokens = tokens + excluded.tokens",
            self._connection,
            int(at / SLICE_S),
            tokens,
        )

    def _correct(self, grant: Grant, tokens: int) -> None:
        pace = self._pace()
        if tokens:
            pace.tokens_per_char += _WEIGHT * (tokens / grant.chars - pace.tokens_per_char)
        if self._limits.tokens_per_minute is not None:
            more = tokens - grant.tokens
            pace.next_token += more * MINUTE_S / (PACE * self._limits.tokens_per_minute)
            self._spend(grant.at, more)
        self._keep(pace)

    def _pace(self) -> _Pace:
        rows = self._execute(
            "SELECT next_request, next_token, paused_until, eased, eased_at, tokens_per_char FROM pace "
            "WHERE connection = ?",
            self._connection,
        )
        return _Pace(*rows[0]) if rows else _Pace()

    def _keep(self, pace: _Pace) -> None:
        self._execute(
            "INSERT OR REPLACE INTO pace VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._connection,
            pace.next_request,
            pace.next_token,
            pace.paused_until,
            pace.eased,
            pace.eased_at,
            pace.tokens_per_char,
        )

    def _execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        assert self._database is not None
        return self._database.execute(statement, values).fetchall()

    def _in_transaction(self, work: Callable[[], _T]) -> _T:
        """What `work` returns, alone among all threads and processes. A damaged file is replaced."""
        with self._lock:
            if self._closed.is_set():
                raise Transient("the connection is closed")
            for attempt in (1, 2):
                try:
                    self._database = self._database or _opened(self._path)
                    self._database.execute("BEGIN IMMEDIATE")
                    result = work()
                    self._database.execute("COMMIT")
                except (apsw.Error, OSError) as error:
                    self._let_go()
                    if attempt == 2 or not isinstance(error, apsw.CorruptError | apsw.NotADBError):
                        raise Fatal(f"the rate limits in {self._path} cannot be used: {error}") from error
                    self._discard(error)
                else:
                    return result
            raise AssertionError  # the second attempt returns or raises

    def _let_go(self) -> None:
        if self._database is not None:
            self._database.close()  # which rolls back
            self._database = None

    def _discard(self, error: Exception) -> None:
        _log.warning("the file of rate limits, %s, is damaged, starting a new one: %s", self._path, error)
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)


def _opened(path: Path) -> apsw.Connection:
    deadline = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            return _connected(path)
        except apsw.BusyError:
            # While another process makes the file, SQLite refuses to change its mode at once, and waits for nothing.
            if time.monotonic() > deadline:
                raise
            time.sleep(_BUSY_PAUSE_S)


def _connected(path: Path) -> apsw.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = apsw.Connection(str(path))
    try:
        database.set_busy_timeout(_BUSY_MS)
        database.pragma("journal_mode", "wal")
        database.pragma("synchronous", "off")  # what a power cut loses is a minute old at most
        database.execute(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
