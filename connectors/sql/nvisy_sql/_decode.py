"""From the messages of a stream to what happened to rows, each with the place that is reached with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from nvisy.errors import Refused
from nvisy_sql import _pgoutput as pgoutput
from nvisy_sql._changes import RowChange
from nvisy_sql._pgoutput import UNCHANGED, Values
from nvisy_sql._replication import Keepalive
from nvisy_sql._tables import Table
from nvisy_sql._values import Convert

Describe = Callable[[pgoutput.Relation, Table], "Described"]


class Place(NamedTuple):
    """How far a stream has been read: as `lsn` and `transaction` of a position."""

    lsn: int
    transaction: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Described:
    """How the rows of a table are to be read from now on."""

    table: Table
    columns: tuple[tuple[str, Convert], ...]
    key: tuple[int, ...]


class Decoder:
    """Turns messages into changes; skips those of a transaction that were read before."""

    def __init__(
        self, tables: Sequence[Table], place: Place, describe: Describe, *, refuse_truncate: bool
    ) -> None:
        """Goes on at `place`.

        Args:
            tables: The tables to read; what is said of others is passed over.
            place: Where the last reader stopped.
            describe: Called for every relation message about one of `tables`; may refuse.
            refuse_truncate: Stop where one of `tables` is truncated.
        """
        self._tables: Mapping[int, Table] = {table.oid: table for table in tables}
        self._described: dict[int, Described] = {}
        self._describe = describe
        self._refuse_truncate = refuse_truncate
        self._lsn = place.lsn
        self._resumed = place.transaction
        self._commit_lsn = 0
        self._at_us = 0
        self._xid = 0
        self._n_events = 0
        self._n_skipped = 0
        self._within = False

    def take(self, data: bytes | Keepalive) -> Iterator[tuple[RowChange | None, Place]]:
        """What a message says. None with a place: nothing happened to our tables up to there."""
        if isinstance(data, Keepalive):
            if not self._within and self._resumed is None and data.lsn > self._lsn:
                self._lsn = data.lsn
                yield None, Place(self._lsn, None)
            return
        message = pgoutput.parse(data)
        match message:
            case pgoutput.Begin():
                self._begin(message)
            case pgoutput.Commit():
                self._within = False
                self._lsn = message.end_lsn
                yield None, Place(self._lsn, None)
            case pgoutput.Relation():
                if message.oid in self._tables:
                    self._described[message.oid] = self._describe(message, self._tables[message.oid])
            case None:
                return
            case _:
                for change in self._changes(message):
                    self._n_events += 1
                    if self._n_events > self._n_skipped:
                        yield change, Place(self._lsn, (self._commit_lsn, self._n_events))

    def _begin(self, message: pgoutput.Begin) -> None:
        self._within = True
        self._commit_lsn, self._at_us, self._xid = message
        self._n_events = 0
        again = self._resumed is not None and self._resumed[0] == self._commit_lsn
        self._n_skipped = self._resumed[1] if again and self._resumed else 0
        self._resumed = None

    def _changes(
        self, message: pgoutput.Insert | pgoutput.Update | pgoutput.Delete | pgoutput.Truncate
    ) -> Iterator[RowChange]:
        if isinstance(message, pgoutput.Truncate):
            for oid in message.oids:
                if oid in self._tables:
                    yield self._truncated(self._tables[oid])
            return
        described = self._described.get(message.oid)
        if described is None:
            return
        match message:
            case pgoutput.Insert():
                yield self._upsert(described, message.new)
            case pgoutput.Delete():
                yield self._delete(described, message.old)
            case pgoutput.Update():
                yield from self._update(described, message)

    def _update(self, described: Described, message: pgoutput.Update) -> Iterator[RowChange]:
        new, old = message.new, message.old
        if old is not None:
            for at in range(len(new)) if message.whole else described.key:
                if new[at] is UNCHANGED:
                    new[at] = old[at]
            if any(new[at] != old[at] for at in described.key):
                yield self._delete(described, old)
        yield self._upsert(described, new)

    def _upsert(self, described: Described, row: Values) -> RowChange:
        values: dict[str, Any] = {}
        missing: list[str] = []
        for (name, convert), text in zip(described.columns, row, strict=True):
            if type(text) is bytes:
                values[name] = convert(text)
            elif text is None:
                values[name] = None
            else:
                missing.append(name)
        key = tuple(_decoded(row[at]) for at in described.key)
        return RowChange(described.table, "upsert", key, values, tuple(missing), self._at_us, self._xid)

    def _delete(self, described: Described, old: Values) -> RowChange:
        key = tuple(_decoded(old[at]) for at in described.key)
        return RowChange(described.table, "delete", key, at_us=self._at_us)

    def _truncated(self, table: Table) -> RowChange:
        if self._refuse_truncate:
            raise Refused(
                f"table {table.name} was truncated, and this source was told to refuse that; if its documents are to "
                'go from the index, set "onTruncate" to "empty" and run again'
            )
        return RowChange(table, "clear", (), at_us=self._at_us)


def _decoded(text: Any) -> str:
    if not isinstance(text, bytes):
        raise Refused(
            f"a key column came without its value ({text}); the replica identity does not hold the key"
        )
    return text.decode()
