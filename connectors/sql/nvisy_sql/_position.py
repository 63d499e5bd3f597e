"""How far a database has been read: what is committed with the changes, and given back by the next process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from nvisy_sql._lsn import lsn_of, shown


@dataclass(frozen=True, slots=True)
class Lane:
    """One part of a table's first reading: the rows whose first key column is in [low, high), in the key's order.

    Attributes:
        low: Text of the bound, None at the beginning of the table.
        high: Likewise, None at its end.
        after: Texts of the key that was read last, empty before the first.
        done: All of it has been read.
    """

    low: str | None = None
    high: str | None = None
    after: tuple[str, ...] = ()
    done: bool = False

    def as_json(self) -> dict[str, Any]:
        """For the position."""
        return {"low": self.low, "high": self.high, "after": list(self.after), "done": self.done}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Lane:
        """The lane that `as_json` described."""
        return cls(value["low"], value["high"], tuple(value["after"]), value["done"])


@dataclass(frozen=True, slots=True)
class TableProgress:
    """How far one table's first reading got.

    Attributes:
        oid: Tells whether it is still the same table.
        lanes: Its parts, or None before it was begun.
    """

    oid: int
    lanes: tuple[Lane, ...] | None = None

    @property
    def done(self) -> bool:
        """All rows that were there have been read."""
        return self.lanes is not None and all(lane.done for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class Position:
    """A place in one database's history.

    Attributes:
        system: The database cluster's identifier.
        timeline: Its timeline: another one after a failover, or after it was restored.
        slot: Name of the replication slot.
        lsn: Every transaction that committed before it has been read.
        transaction: Commit LSN of the transaction that is being read, and how many events of it have been; or None.
        tables: By name: how far each table's first reading got.
        visible: `pg_current_snapshot()` at the slot's beginning: which transactions a first reading has to see.
    """

    system: str
    timeline: int
    slot: str
    lsn: int
    transaction: tuple[int, int] | None = None
    tables: dict[str, TableProgress] = field(default_factory=dict)
    visible: str = ""

    def with_table(self, name: str, progress: TableProgress) -> Position:
        """The same place, with one table read further."""
        return replace(self, tables={**self.tables, name: progress})

    def as_json(self) -> dict[str, Any]:
        """What is stored."""
        value: dict[str, Any] = {
            "system": self.system,
            "timeline": self.timeline,
            "slot": self.slot,
            "lsn": shown(self.lsn),
            "tables": {name: _table_as_json(progress) for name, progress in self.tables.items()},
            "visible": self.visible,
        }
        if self.transaction is not None:
            value["transaction"] = [shown(self.transaction[0]), self.transaction[1]]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Position:
        """The position that `as_json` described."""
        within = value.get("transaction")
        return cls(
            system=value["system"],
            timeline=value["timeline"],
            slot=value["slot"],
            lsn=lsn_of(value["lsn"]),
            transaction=(lsn_of(within[0]), within[1]) if within else None,
            tables={name: _table_from_json(each) for name, each in value["tables"].items()},
            visible=value["visible"],
        )


def _table_as_json(progress: TableProgress) -> dict[str, Any]:
    if progress.done:
        return {"oid": progress.oid, "done": True}
    lanes = None if progress.lanes is None else [lane.as_json() for lane in progress.lanes]
    return {"oid": progress.oid, "lanes": lanes}


def _table_from_json(value: dict[str, Any]) -> TableProgress:
    if value.get("done"):
        return TableProgress(value["oid"], (Lane(done=True),))
    lanes = value["lanes"]
    return TableProgress(value["oid"], None if lanes is None else tuple(map(Lane.from_json, lanes)))
