"""F20: large values that an update leaves alone, keys that change, TRUNCATE, a table without an identity."""

from __future__ import annotations

from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.tables import tables

FATAL = 1
SCRIPTS = [
    "UPDATE articles SET body = repeat('large ' || id || ' ', 800) WHERE id <= 40",
    "UPDATE articles SET title = 'only the title' WHERE id <= 40",
    "UPDATE articles SET id = id + 1000 WHERE id <= 20",
    "UPDATE articles SET id = id - 1000, title = 'and back' WHERE id > 1000",
    "UPDATE articles SET id = 2000 WHERE id = 1; INSERT INTO articles VALUES (1, 'another')",
    "DELETE FROM articles WHERE id IN (2000, 2)",
    "ALTER TABLE articles REPLICA IDENTITY FULL; UPDATE articles SET title = 'whole' WHERE id <= 30",
    "ALTER TABLE articles REPLICA IDENTITY DEFAULT; DELETE FROM articles WHERE id BETWEEN 5 AND 9",
    "TRUNCATE articles",
    "INSERT INTO articles VALUES (3, 'after'); TRUNCATE articles; INSERT INTO articles VALUES (3, 'last')",
]


def play(cell: Cell) -> None:
    """After each script the index is what the table is."""
    with tables(cell) as table:
        table.fill(60)
        cell.start()
        table.rest()
        for script in SCRIPTS:
            with cell.saying(script):
                table.execute(script)
                table.rest()
            cell.tally.runs += 1
        cell.stop()
        table.execute("ALTER TABLE articles REPLICA IDENTITY NOTHING")
        code = cell.ended(cell.spawn(), 60)
        cell.expect(code == FATAL, f"over a table without an identity a run ended with exit code {code}")
        cell.tally.runs += 1
        table.execute("ALTER TABLE articles REPLICA IDENTITY DEFAULT")
        table.finish()


ROW = Row(
    "F20",
    "large values left alone, keys that change, TRUNCATE, no identity",
    play,
    where=(("chain", "embedded", "sqlite"), ("chain", "kafka", "pgvector")),
)
