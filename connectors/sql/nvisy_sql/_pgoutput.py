"""The messages of `pgoutput`, protocol version 1: what a logical replication stream says, transaction by transaction.

Numbers are big-endian, texts end with a zero byte. A value of a row is the text that Postgres would print for it, None
for null, or `UNCHANGED` where the server did not read a large value that the update left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final, NamedTuple

_INT16 = Struct(">H")
_INT32 = Struct(">I")
_BEGIN = Struct(">QqI")
_COMMIT = Struct(">xQQq")
_COLUMN = Struct(">II")
_NULL, _TEXT, _LEFT_ALONE = ord("n"), ord("t"), ord("u")
_NEW = ord("N")


class Unchanged:
    """Stands for a large value (TOAST) that is not in the message since the update did not touch it."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged()
Value = bytes | None | Unchanged
Values = list[Value]


class Begin(NamedTuple):
    """A transaction begins; `commit_lsn` is where its commit stands, `at_us` when it was, microseconds since 1970."""

    commit_lsn: int
    at_us: int
    xid: int


class Commit(NamedTuple):
    """The transaction ends; `end_lsn` is the place behind its commit, where the next one may be."""

    commit_lsn: int
    end_lsn: int


class Column(NamedTuple):
    """A column as the server describes it before it sends rows: `identity` ones name the row."""

    name: str
    type_oid: int
    identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when the rows that follow were written."""

    oid: int
    schema: str
    table: str
    columns: tuple[Column, ...]


class Insert(NamedTuple):
    """A new row."""

    oid: int
    new: Values


class Update(NamedTuple):
    """A changed row. `old` holds identity columns only (None elsewhere), or the whole row when `whole`."""

    oid: int
    old: Values | None
    whole: bool
    new: Values


class Delete(NamedTuple):
    """A row that is gone, as `old` of an update."""

    oid: int
    old: Values


class Truncate(NamedTuple):
    """Tables that were emptied."""

    oids: tuple[int, ...]


Message = Begin | Commit | Relation | Insert | Update | Delete | Truncate

_POSTGRES_EPOCH_US = 946_684_800_000_000
"""Postgres counts from the year 2000."""


def parse(data: bytes) -> Message | None:  # noqa: PLR0911 - one line for each kind of message
    """The message in `data`, or None for one that says nothing about rows (a type, an origin, an application's own).

    Raises:
        ValueError: It is no message of this protocol version.
    """
    kind = data[:1]
    match kind:
        case b"I":
            return Insert(_INT32.unpack_from(data, 1)[0], _row(data, 6)[0])
        case b"U":
            return _update(data)
        case b"D":
            return Delete(_INT32.unpack_from(data, 1)[0], _row(data, 6)[0])
        case b"B":
            commit_lsn, at_us, xid = _BEGIN.unpack_from(data, 1)
            return Begin(commit_lsn, at_us + _POSTGRES_EPOCH_US, xid)
        case b"C":
            commit_lsn, end_lsn, _ = _COMMIT.unpack_from(data, 1)
            return Commit(commit_lsn, end_lsn)
        case b"R":
            return _relation(data)
        case b"T":
            (count,) = _INT32.unpack_from(data, 1)
            return Truncate(tuple(_INT32.unpack_from(data, 6 + 4 * index)[0] for index in range(count)))
        case b"Y" | b"O" | b"M":
            return None
    raise ValueError(f"a message of kind {kind!r} is none of pgoutput's protocol version 1")


def _update(data: bytes) -> Update:
    (oid,) = _INT32.unpack_from(data, 1)
    kind, at = data[5], 6
    old = None
    if kind != _NEW:
        old, at = _row(data, at)
        at += 1
    new, _ = _row(data, at)
    return Update(oid, old, kind == ord("O"), new)


def _row(data: bytes, at: int) -> tuple[Values, int]:
    (count,) = _INT16.unpack_from(data, at)
    at += 2
    values: Values = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == _TEXT:
            (length,) = _INT32.unpack_from(data, at)
            at += 4
            values.append(data[at : at + length])
            at += length
        elif kind == _NULL:
            values.append(None)
        elif kind == _LEFT_ALONE:
            values.append(UNCHANGED)
        else:
            raise ValueError(f"a value of kind {chr(kind)!r} was not asked for")
    return values, at


def _relation(data: bytes) -> Relation:
    (oid,) = _INT32.unpack_from(data, 1)
    schema, at = _text(data, 5)
    table, at = _text(data, at)
    (count,) = _INT16.unpack_from(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        identity = bool(data[at])
        name, at = _text(data, at + 1)
        type_oid, _modifier = _COLUMN.unpack_from(data, at)
        at += _COLUMN.size
        columns.append(Column(name, type_oid, identity))
    return Relation(oid, schema or "pg_catalog", table, tuple(columns))


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(0, at)
    return data[at:end].decode(), end + 1
