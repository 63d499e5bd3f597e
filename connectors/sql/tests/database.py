"""A database in the hands of a test, and a reader that keeps what it was told as a table would."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from nvisy_sql._changes import row_of
from nvisy_sql._rows import Pages
from nvisy_sql._tables import TableName, describe
from nvisy_sql.postgres import PostgresParams, PostgresSource
from nvisy_sql.row import Row

from nvisy.connector.descriptor import Context
from nvisy.connector.shape import Shape
from nvisy.connector.source import Event, StreamReader

PATIENCE_S = 300.0
"""How long a busy machine may take for what takes a moment."""


class Database:
    """SQL, and sources over it."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._connection = psycopg.connect(dsn, autocommit=True)

    def execute(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run it; its rows, if it gives any."""
        cursor = self._connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of its own, without autocommit."""
        with psycopg.connect(self.dsn) as connection:
            yield connection

    def source(self, *tables: Any, follow: bool = True, **params: Any) -> PostgresSource:
        """A source over these tables, whose slot is the test's own."""
        typed = PostgresParams.model_validate({"dsn": self.dsn, "tables": tables or ("items",), **params})
        return PostgresSource(typed, Context(None, None, None, Shape(Row), self.slot, "rows", follow))  # type: ignore[arg-type]

    @property
    def slot(self) -> str:
        """What slots of this database are named after: slots are the server's, databases the tests'."""
        return self.dsn.rpartition("/")[2]

    def rows(self, table: str) -> dict[str, Any]:
        """Every row of a table by its key, as a source should have told it: read by a query."""
        described = describe(self._connection, TableName.parse(table))
        found: dict[str, Any] = {}
        with psycopg.connect(self.dsn, options="-c TimeZone=UTC", autocommit=True) as connection:
            for page, _ in Pages(described, None, None).after(connection, ()):
                found |= {described.key_of(row.key): row_of(table, row.values or {}).values for row in page}
        return found

    def until(self, statement: str, *values: Any) -> None:
        """Wait until a query gives a row."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.execute(statement, *values):
            assert time.monotonic() < deadline, statement
            time.sleep(0.02)

    def lsn(self) -> str:
        """Where the log ends."""
        return str(self.execute("SELECT pg_current_wal_lsn()::text")[0][0])

    def disconnect(self) -> None:
        """Close the connection, and leave everything as it is."""
        self._connection.close()

    def close(self) -> None:
        """Drop the slots of this database, and the connection."""
        for name, pid in self.execute(
            "SELECT slot_name, active_pid FROM pg_replication_slots WHERE database = current_database()"
        ):
            if pid is not None:
                self.execute("SELECT pg_terminate_backend(%s)", pid)
                self.until(
                    "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active_pid IS NULL", name
                )
            self.execute("SELECT pg_drop_replication_slot(%s)", name)
        self.disconnect()


class Follower:
    """What a reader told so far, applied to a table in memory."""

    def __init__(self, source: PostgresSource, position: Any = None) -> None:
        self._source = source
        self.position = position
        self.rows: dict[str, Any] = {}
        self.events: list[Event] = []
        self.ended = False
        self.complete = False

    @contextmanager
    def reading(self) -> Iterator[StreamReader]:
        """An open reader, from the last position on."""
        with closing(self._source.open(self.position)) as reader:
            yield reader

    def take(self, reader: StreamReader, limit: int = 100) -> list[Event]:
        """One batch."""
        batch = reader.read(limit, 0.05)
        assert len(batch.events) <= limit
        self.position = batch.position
        self.ended = batch.end
        self.complete = batch.complete
        self.events += batch.events
        for event in batch.events:
            self._apply(event)
        return list(batch.events)

    def follow(self, reader: StreamReader, *, to: str) -> list[Event]:
        """Everything up to a place of the log."""
        deadline = time.monotonic() + PATIENCE_S
        taken: list[Event] = []
        while not self.reached(to):
            assert time.monotonic() < deadline, f"the stream did not get to {to}: {self.position}"
            taken += self.take(reader)
        return taken + self.take(reader)  # after the first reading this opens the stream

    def reached(self, lsn: str) -> bool:
        """Whether everything up to there was told."""
        if self.position is None or not all(table.get("done") for table in self.position["tables"].values()):
            return False
        return "transaction" not in self.position and _number(self.position["lsn"]) >= _number(lsn)

    def _apply(self, event: Event) -> None:
        match event.op:
            case "upsert":
                assert isinstance(event.item, Row)
                self.rows[event.key] = event.item.values
            case "delete":
                self.rows.pop(event.key, None)
            case "clear":
                self.rows = {key: row for key, row in self.rows.items() if not key.startswith(event.key)}


def _number(lsn: str) -> int:
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)
