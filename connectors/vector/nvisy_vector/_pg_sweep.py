"""Removes from Postgres what nothing has confirmed: some hundred keys in a transaction, then the next."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from nvisy_vector._layout import heads_name

if TYPE_CHECKING:
    from nvisy_vector._pg_database import Connection

KEYS_AT_ONCE = 500


def sweep(
    connection: Connection, physical: str, lane: str, below: int, check_fence: Callable[[Connection], None]
) -> int:
    """Forget the keys of a lane whose head is lower than `below`, and its lower records without a head.

    Args:
        connection: The database; nothing of it is held between two transactions.
        physical: Name of the table of records.
        lane: The lane.
        below: The lowest version that stays.
        check_fence: Raises when another owner has taken over; called in each transaction.

    Returns:
        How many records went.
    """
    heads = heads_name(physical)
    has_head = (
        f'SELECT 1 FROM "{heads}" AS head WHERE head.lane = record.lane AND head.key = record.key COLLATE "C"'
    )
    page = f"lane = %s AND version < %s AND key >= %s ORDER BY key LIMIT {KEYS_AT_ONCE}"
    of_keys = "WHERE lane = %s AND key = ANY(%s)"
    headless = f'"{physical}" AS record WHERE NOT EXISTS ({has_head})'

    def behind() -> int:
        """Locks heads before their records, in the order of an `apply`, which then finds them gone."""
        removed, keys = 0, [""]
        while keys:
            with connection.transaction():
                check_fence(connection)
                rows = connection.execute(
                    f'SELECT key FROM "{heads}" WHERE {page} FOR UPDATE', (lane, below, keys[-1])
                )
                keys = [key for (key,) in rows]
                removed += connection.execute(f'DELETE FROM "{physical}" {of_keys}', (lane, keys)).rowcount
                connection.execute(f'DELETE FROM "{heads}" {of_keys}', (lane, keys))
        return removed

    def without_head() -> int:
        """There is no head to lock: nobody may make any, for the moment that these records take to go."""
        removed, last = 0, ""
        while rows := connection.execute(
            f"SELECT DISTINCT key FROM {headless} AND {page}", (lane, below, last)
        ).fetchall():
            keys = [key for (key,) in rows]
            with connection.transaction():
                check_fence(connection)
                connection.execute(f'LOCK TABLE "{heads}" IN SHARE ROW EXCLUSIVE MODE')
                removed += connection.execute(
                    f"DELETE FROM {headless} AND lane = %s AND key = ANY(%s) AND version < %s",
                    (lane, keys, below),
                ).rowcount
            last = keys[-1]
        return removed

    return behind() + without_head()
