"""The streaming replication protocol, spoken over libpq: one connection, used by one thread at a time."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from struct import Struct
from typing import Any

from nvisy.errors import Fatal, Unreachable
from nvisy_sql._connect import connect, said, translated
from nvisy_sql._lsn import lsn_of, shown
from nvisy_sql._tables import quoted

_STATUS = Struct(">cQQQqB")
_DATA = Struct(">xQQq")
_KEEPALIVE = Struct(">xQqB")
_POSTGRES_EPOCH_US = 946_684_800_000_000


@dataclass(frozen=True, slots=True)
class System:
    """Which cluster this is, and on which timeline."""

    identifier: str
    timeline: int


@dataclass(frozen=True, slots=True)
class Created:
    """A new slot: what committed before `lsn` is in the snapshot of this name, all the rest comes by the stream."""

    lsn: int
    snapshot: str


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Everything up to `lsn` has been sent; the server waits for an answer where `reply` is set."""

    lsn: int
    reply: bool


class Replication:
    """A connection that creates a slot and streams from it."""

    def __init__(self, dsn: str, application: str) -> None:
        self._connection = connect(dsn, application, replication="database")
        self._poll = select.poll()
        self._poll.register(self._connection.pgconn.socket, select.POLLIN)

    def identify(self) -> System:
        """Which server this is."""
        with translated("IDENTIFY_SYSTEM"):
            row = self._connection.execute("IDENTIFY_SYSTEM").fetchone()
        assert row is not None
        return System(str(row[0]), int(row[1]))

    def create_slot(self, name: str) -> Created:
        """Make a slot; its snapshot can be used until this connection does anything else."""
        statement = f"CREATE_REPLICATION_SLOT {quoted(name)} LOGICAL pgoutput (SNAPSHOT 'export')"
        with translated(f"replication slot {name} cannot be made"):
            row = self._connection.execute(statement.encode()).fetchone()
        assert row is not None
        return Created(lsn_of(row[1]), row[2])

    def start(self, slot: str, publication: str, lsn: int) -> None:
        """Let the server send everything that committed at `lsn` or later.

        Raises:
            Unreachable: The connection broke.
            Fatal: The server refuses.
        """
        from psycopg.pq import ExecStatus  # noqa: PLC0415

        name = publication.replace('"', '""').replace("'", "''")
        options = f"proto_version '1', publication_names '\"{name}\"'"
        statement = f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {shown(lsn)} ({options})"
        pgconn = self._connection.pgconn
        with translated("START_REPLICATION"):
            pgconn.send_query(statement.encode())
            pgconn.flush()
            result = pgconn.get_result()
        if result is None or result.status != ExecStatus.COPY_BOTH:
            reason = said(result.error_message.decode()) if result is not None else "no answer"
            raise Fatal(f"the server does not stream replication slot {slot}: {reason}")

    def receive(self) -> bytes | Keepalive | None:
        """What has arrived: a message of the output plugin, or a keepalive; None when there is nothing now.

        Raises:
            Unreachable: The connection broke, or the server ended the stream.
        """
        with translated("the replication stream broke off"):
            length, view = self._connection.pgconn.get_copy_data(1)
        if length == 0:
            return None
        if length < 0:
            raise Unreachable(f"the server ended the replication stream: {self._last_words()}")
        data = bytes(view)
        if data[:1] == b"w":
            return data[_DATA.size :]
        lsn, _, reply = _KEEPALIVE.unpack_from(data)
        return Keepalive(lsn, bool(reply))

    def wait(self, timeout_s: float) -> bool:
        """Take in what arrives within the time. Returns whether anything did."""
        if not self._poll.poll(timeout_s * 1000):
            return False
        with translated("the replication stream broke off"):
            self._connection.pgconn.consume_input()
        return True

    def confirm(self, received: int, durable: int, *, reply: bool) -> None:
        """Tell the server how far everything is durable here, so that it may forget what lies before."""
        now_us = time.time_ns() // 1000 - _POSTGRES_EPOCH_US
        message = _STATUS.pack(b"r", received, durable, durable, now_us, reply)
        pgconn = self._connection.pgconn
        with translated("the replication stream broke off"):
            pgconn.put_copy_data(message)
            pgconn.flush()

    def close(self) -> None:
        """Close the connection. May be called twice."""
        self._connection.close()

    def _last_words(self) -> str:
        result: Any = self._connection.pgconn.get_result()
        return said(result.error_message.decode()) if result is not None else "it shut down"
