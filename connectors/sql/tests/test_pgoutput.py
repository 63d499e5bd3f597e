"""Messages of the stream, as bytes."""

from __future__ import annotations

import struct

import pytest
from nvisy_sql._pgoutput import (
    UNCHANGED,
    Begin,
    Column,
    Commit,
    Delete,
    Insert,
    Relation,
    Truncate,
    Update,
    parse,
)


def row(*values):
    parts = [struct.pack(">H", len(values))]
    for value in values:
        match value:
            case None:
                parts.append(b"n")
            case bytes():
                parts.append(b"t" + struct.pack(">I", len(value)) + value)
            case _:
                parts.append(b"u")
    return b"".join(parts)


OID = struct.pack(">I", 16384)


def test_a_transaction_says_where_it_commits_and_when():
    begin = parse(b"B" + struct.pack(">QqI", 0x1_0000_0002, 1_000_000, 7))
    assert begin == Begin(0x1_0000_0002, 946_684_801_000_000, 7)
    assert parse(b"C" + struct.pack(">BQQq", 0, 5, 6, 0)) == Commit(5, 6)


def test_a_relation_names_its_columns():
    columns = (
        b"\x01id\0" + struct.pack(">II", 23, 2**32 - 1) + "\x00größe\0".encode() + struct.pack(">II", 25, 4)
    )
    message = b"R" + OID + b"public\0items\0d" + struct.pack(">H", 2) + columns
    assert parse(message) == Relation(
        16384, "public", "items", (Column("id", 23, True), Column("größe", 25, False))
    )


def test_rows_hold_text_null_and_what_was_left_alone():
    assert parse(b"I" + OID + b"N" + row(b"1", None, b"")) == Insert(16384, [b"1", None, b""])
    assert parse(b"U" + OID + b"N" + row(b"1", UNCHANGED)) == Update(16384, None, False, [b"1", UNCHANGED])
    keyed = b"U" + OID + b"K" + row(b"1", None) + b"N" + row(b"2", b"x")
    assert parse(keyed) == Update(16384, [b"1", None], False, [b"2", b"x"])
    whole = b"U" + OID + b"O" + row(b"1", b"x") + b"N" + row(b"2", UNCHANGED)
    assert parse(whole) == Update(16384, [b"1", b"x"], True, [b"2", UNCHANGED])
    assert parse(b"D" + OID + b"K" + row(b"1", None)) == Delete(16384, [b"1", None])


def test_truncate_names_every_table():
    assert parse(b"T" + struct.pack(">IBII", 2, 0, 5, 6)) == Truncate((5, 6))


def test_what_says_nothing_about_rows_is_passed_over():
    assert [parse(kind + b"anything") for kind in (b"Y", b"O", b"M")] == [None] * 3


def test_what_is_no_message_is_refused():
    with pytest.raises(ValueError, match="none of pgoutput"):
        parse(b"?")
    with pytest.raises(ValueError, match="was not asked for"):
        parse(b"I" + OID + b"N" + struct.pack(">H", 1) + b"b")
