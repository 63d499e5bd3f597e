"""Who may write as a stage, how far it has come, what it remembers: tables of every file that is a home.

The home of a stage is the file of its first output topic, so that appends, positions and state are one
transaction; `control.db` for a stage without outputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import apsw

from nvisy.topics.embedded.sqlite import rows
from nvisy.topics.log import Seat, TopicPartition

SCHEMA = """
CREATE TABLE IF NOT EXISTS writer (
    graph TEXT, stage TEXT, slot INTEGER, token INTEGER NOT NULL,
    PRIMARY KEY (graph, stage, slot)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS position (
    graph TEXT, stage TEXT, config TEXT, topic TEXT, partition INTEGER,
    topic_id TEXT NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY (graph, stage, config, topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (
    graph TEXT, stage TEXT, name TEXT, value BLOB NOT NULL,
    PRIMARY KEY (graph, stage, name)) WITHOUT ROWID;
"""


class Position(NamedTuple):
    """The next offset to read, of the topic that had this id when it was stored."""

    topic_id: str
    next: int


def take(db: apsw.Connection, seat: Seat) -> int:
    """Become the writer of a seat; the token that commits must still find.

    Slots that there no longer are have nobody who would take them, so whoever had them is refused here.
    """
    db.execute(
        "UPDATE writer SET token = token + 1 WHERE graph = ? AND stage = ? AND slot >= ?",
        (seat.graph, seat.stage, max(seat.slots, seat.slot + 1)),
    )
    found = rows(
        db,
        "INSERT INTO writer VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE SET token = token + 1 RETURNING token",
        (seat.graph, seat.stage, seat.slot),
    )
    return int(found[0][0])


def holds(db: apsw.Connection, seat: Seat, token: int) -> bool:
    """Whether the seat is still the one that `token` was given for."""
    query = "SELECT token FROM writer WHERE graph = ? AND stage = ? AND slot = ?"
    row = db.execute(query, (seat.graph, seat.stage, seat.slot)).fetchone()
    return row is not None and row[0] == token


def positions(db: apsw.Connection, seat: Seat) -> dict[TopicPartition, Position]:
    """Stored positions of a stage under its present configuration."""
    query = (
        "SELECT topic, partition, topic_id, next FROM position WHERE graph = ? AND stage = ? AND config = ?"
    )
    rows = db.execute(query, (seat.graph, seat.stage, seat.config))
    return {TopicPartition(topic, partition): Position(id_, next_) for topic, partition, id_, next_ in rows}


def store_positions(db: apsw.Connection, seat: Seat, rows: Iterable[tuple[TopicPartition, Position]]) -> None:
    """Store how far a stage has come."""
    db.executemany(
        "INSERT OR REPLACE INTO position VALUES (?, ?, ?, ?, ?, ?, ?)",
        ((seat.graph, seat.stage, seat.config, *place, *position) for place, position in rows),
    )


def state(db: apsw.Connection, seat: Seat) -> dict[str, bytes]:
    """What a stage remembers, by name."""
    rows = db.execute("SELECT name, value FROM state WHERE graph = ? AND stage = ?", (seat.graph, seat.stage))
    return {str(name): bytes(value) for name, value in rows}


def values_named(db: apsw.Connection, graph: str, name: str) -> list[bytes]:
    """What stages of a graph remember under a name."""
    found = rows(db, "SELECT value FROM state WHERE graph = ? AND name = ?", (graph, name))
    return [bytes(value) for (value,) in found]


def store_state(db: apsw.Connection, seat: Seat, values: Mapping[str, bytes | None]) -> None:
    """Remember values by name; None forgets one."""
    for name, value in values.items():
        if value is None:
            where = (seat.graph, seat.stage, name)
            db.execute("DELETE FROM state WHERE graph = ? AND stage = ? AND name = ?", where)
        else:
            db.execute(
                "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", (seat.graph, seat.stage, name, value)
            )


def fence_stage(db: apsw.Connection, seat: Seat) -> None:
    """Refuse every writer the stage has had in this file, whatever its slot."""
    where = (seat.graph, seat.stage)
    db.execute("UPDATE writer SET token = token + 1 WHERE graph = ? AND stage = ?", where)


def move(source: apsw.Connection, target: apsw.Connection, seat: Seat) -> None:
    """Replace what `target` knows of a stage by what `source` knows of it."""
    stage = (seat.graph, seat.stage)
    for table, marks in (("position", "?, ?, ?, ?, ?, ?, ?"), ("state", "?, ?, ?, ?")):
        rows = source.execute(f"SELECT * FROM {table} WHERE graph = ? AND stage = ?", stage).fetchall()  # noqa: S608
        target.execute(f"DELETE FROM {table} WHERE graph = ? AND stage = ?", stage)  # noqa: S608
        target.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)  # noqa: S608
