"""Topics that Debezium fills: the row in a change event, with or without its envelope, and the key of the row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nvisy.errors import Rejected

UNAVAILABLE = ("__debezium_unavailable_value", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==")
"""What stands in the place of a large value that an update left alone, as text and as base64."""

_OPS = frozenset({"c", "u", "r", "d"})


def row_of(value: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The row that an event says there is now, or None where it says that the row is gone.

    Args:
        value: The value of a record: an event in its envelope, with its schema beside it or without, or the bare row
            that Debezium's `ExtractNewRecordState` makes of it.

    Raises:
        Rejected: It is about no row, or lacks a value.
    """
    payload = _payload(value)
    if "op" not in payload or not ({"before", "after"} & payload.keys()):
        return _whole(_bare(payload), {})
    if payload["op"] not in _OPS:
        raise Rejected(
            f"an event of kind {payload['op']!r} is about no row: a table that was truncated, or a message; delete "
            "what it stands for by hand, or read the table anew",
            kind="no_row",
        )
    after = payload.get("after")
    if payload["op"] == "d" or after is None:
        return None
    return _whole(after, payload.get("before") or {})


def key_of(key: Mapping[str, Any]) -> str:
    """What names the row: the values of the key's columns, with a comma between.

    Raises:
        Rejected: It has no columns.
    """
    values = [str(value) for value in _payload(key).values()]
    if not values:
        raise Rejected("the key of the record has no columns: the table needs a primary key", kind="no_key")
    if len(values) == 1:
        return values[0]
    return ",".join(value.replace("%", "%25").replace(",", "%2C") for value in values)


def _payload(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A value without the schema that Kafka Connect's JSON converter puts beside it."""
    if value.keys() == {"schema", "payload"} and isinstance(value["payload"], Mapping):
        return value["payload"]
    return value


def _bare(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A row without the fields that `ExtractNewRecordState` adds; None for one that it marks as deleted."""
    if str(row.get("__deleted", "")).lower() == "true":
        return None
    return {name: value for name, value in row.items() if not name.startswith("__")}


def _whole(row: Mapping[str, Any] | None, before: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A row with the values that only the one before has; a placeholder never passes for a value."""
    if row is None:
        return None
    whole = {name: before.get(name, value) if value in UNAVAILABLE else value for name, value in row.items()}
    missing = [name for name, value in whole.items() if value in UNAVAILABLE]
    if missing:
        raise Rejected(
            f"the column {missing[0]} is not in the event, for the update left it alone: give the table REPLICA "
            "IDENTITY FULL, or read it with sql/postgres, which fetches such values",
            kind="unavailable",
        )
    return whole
