"""F17: the slot is dropped, while it is read and while it is not; it is made anew; the server gets another history."""

from __future__ import annotations

import time

from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.tables import Tables, tables

GAP = 6
DETECTED_S = 10.0


def play(cell: Cell) -> None:
    """After each gap a run says so, and one that adopts applies what was missed, deletes included."""
    with tables(cell) as table:
        table.fill(300)
        cell.start()
        table.rest()
        _dropped_while_read(cell, table)
        _missed(cell, table)
        if cell.setting.quick:
            table.finish()
            return
        table.drop_slot()
        _missed(cell, table)
        table.drop_slot()
        table.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", table.slot)
        _missed(cell, table)
        table.execute("DROP TABLE articles CASCADE")
        table.execute(
            "CREATE TABLE articles (id int PRIMARY KEY, title text NOT NULL, body text, views int DEFAULT 0)"
        )
        _missed(cell, table)
        table.finish()


def _dropped_while_read(cell: Cell, table: Tables) -> None:
    began = time.monotonic()
    table.drop_slot()
    code = cell.ended(cell.running, DETECTED_S)
    took_s = time.monotonic() - began
    cell.expect(code == GAP, f"a run whose slot was dropped ended with exit code {code}: {cell.said()}")
    cell.note(f"a slot that is dropped while it is read: noticed after {took_s:.1f} s")


def _missed(cell: Cell, table: Tables) -> None:
    """Changes that nobody tells of; the next run stops, the one after it adopts."""
    cell.tally.runs += 1
    table.change(60)
    table.execute("DELETE FROM articles WHERE id % 7 = 3")
    table.execute("INSERT INTO articles VALUES (1000, 'in the gap') ON CONFLICT DO NOTHING")
    code = cell.ended(cell.spawn("--follow"), 60)
    cell.expect(code == GAP, f"a run over a gap ended with exit code {code}: {cell.said()}")
    cell.run("--adopt")
    table.rest()


ROW = Row(
    "F17",
    "slot dropped, read or not; made anew; a table made anew",
    play,
    where=(("chain", "embedded", "sqlite"), ("chain", "kafka", "pgvector")),
)
