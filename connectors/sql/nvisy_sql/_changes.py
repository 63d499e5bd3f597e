"""What happened to rows, and how a database's text becomes that: the one way for a stream, a query and a fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import orjson

from nvisy.connector.source import Event
from nvisy.primitives.primitive import content_hash
from nvisy_sql._tables import Table
from nvisy_sql.row import Row


class RowChange(NamedTuple):
    """One thing that happened to one row.

    Attributes:
        key: Texts of the key columns, in the key's order; empty for `clear`, which empties the table.
        values: Column to JSON value; None unless `upsert`.
        missing: Columns whose values the server did not send, since the update left them alone.
        at_us: When it was committed, microseconds since 1970; 0 where that is not known.
        xid: The transaction that did it; 0 where that is not known.
    """

    table: Table
    op: Literal["upsert", "delete", "clear"]
    key: tuple[str, ...]
    values: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    at_us: int = 0
    xid: int = 0


def event_of(change: RowChange, place: str) -> Event:
    """The event that a change is to the runtime; `place` is what its uri begins with."""
    table = change.table
    if change.op == "clear":
        return Event(table.prefix, "clear", observed_at_us=change.at_us)
    key = table.key_of(change.key)
    uri = f"{place}#{key}"
    if change.values is None:
        return Event(key, "delete", uri=uri, observed_at_us=change.at_us)
    return Event(key, "upsert", row_of(str(table.name), change.values), uri, change.at_us)


def row_of(table: str, values: Mapping[str, Any]) -> Row:
    """A row with these values, which hold nothing but JSON: not validated again."""
    said = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    return Row.trusted(
        {
            "id": "",
            "content_hash": content_hash(table, said),
            "parent": "",
            "steps": "",
            "metadata": {},
            "provenance": None,
            "table": table,
            "values": dict(values),
        }
    )


def row_change(table: Table, names: Sequence[str], row: Sequence[bytes | None]) -> RowChange:
    """The upsert of a row that a query gave, its columns called `names`."""
    texts = dict(zip(names, row, strict=True))
    values = {name: None if text is None else table.converters[name](text) for name, text in texts.items()}
    return RowChange(table, "upsert", tuple(_key_text(texts[name]) for name in table.key), values)


def _key_text(text: bytes | None) -> str:
    assert text is not None, "a key column is NOT NULL"
    return text.decode()
