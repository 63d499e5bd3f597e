"""F18: a quiet table in a busy database: its slot must not keep the server's log."""

from __future__ import annotations

from tests.faults.cell import Cell
from tests.faults.matrix import Row
from tests.faults.tables import tables

NOISE_MB, QUICK_NOISE_MB = 1000, 100
MOST_MB = 64
_KEPT = """
SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint >> 20
FROM pg_replication_slots WHERE slot_name = %s"""


def play(cell: Cell) -> None:
    """Much is written to a table that nobody follows. What the slot keeps has to be little again, without a change."""
    noise_mb = QUICK_NOISE_MB if cell.setting.quick else NOISE_MB
    with tables(cell) as table:
        table.fill(50)
        cell.start()
        table.rest()
        highest = 0
        for _ in range(noise_mb // 20):
            table.execute("INSERT INTO noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
            highest = max(highest, table.execute(_KEPT, table.slot)[0][0])
        cell.tally.runs += 1
        table.execute("CHECKPOINT")  # the server says then where a slot may begin, and every 15 s in any case
        table.until(f"SELECT 1 FROM ({_KEPT}) AS kept(mb) WHERE mb <= {MOST_MB}", table.slot)
        cell.note(f"{noise_mb} MB beside a quiet table: {highest} MB kept meanwhile, then at most {MOST_MB}")
        table.change(20)
        table.rest()
        cell.stop()
        table.finish()


ROW = Row("F18", "much is written beside a quiet table", play, where=(("chain", "embedded", "sqlite"),))
