"""Removes from an SQLite file what nothing has confirmed: some hundred keys in a transaction, then the next."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nvisy_vector._layout import heads_name
from nvisy_vector._sqlite_file import transaction

if TYPE_CHECKING:
    import apsw

KEYS_AT_ONCE = 500


def sweep(
    connection: apsw.Connection, physical: str, lane: str, below: int, check_fence: Callable[[], None]
) -> int:
    """Forget the keys of a lane whose head is lower than `below`, and its lower records without a head.

    Args:
        connection: The file; nothing of it is held between two transactions.
        physical: Name of the table of records.
        lane: The lane.
        below: The lowest version that stays.
        check_fence: Raises when another owner has taken over; called in each transaction.

    Returns:
        How many records went.
    """
    heads = heads_name(physical)
    page = f"lane = ? AND version < ? AND key >= ? ORDER BY key LIMIT {KEYS_AT_ONCE}"
    has_head = f'SELECT 1 FROM "{heads}" AS head WHERE head.key = record.key AND head.lane = record.lane'
    behind = f'SELECT key FROM "{heads}" WHERE {page}'
    headless = f'SELECT DISTINCT key FROM "{physical}" AS record WHERE NOT EXISTS ({has_head}) AND {page}'
    remove = f'DELETE FROM "{physical}" WHERE key = ? AND lane = ?'

    def swept(select: str, condition: str) -> int:
        count, keys = 0, [""]
        while keys:
            with transaction(connection):
                check_fence()
                keys = [key for (key,) in connection.execute(select, (lane, below, keys[-1]))]
                before = connection.total_changes()
                connection.executemany(remove + condition, ((key, lane) for key in keys))
                count += connection.total_changes() - before
                connection.executemany(
                    f'DELETE FROM "{heads}" WHERE key = ? AND lane = ?', ((key, lane) for key in keys)
                )
        return count

    return swept(behind, "") + swept(headless, f" AND version < {below:d}")
