"""Looking at a database before anything runs: can it be reached, and is it set up for this. Writes nothing."""

from __future__ import annotations

from nvisy.errors import Fatal
from nvisy_sql import _slot as slots
from nvisy_sql._connect import translated
from nvisy_sql._reader import Settings
from nvisy_sql._tables import check_identity, describe

_SERVER = "SELECT current_setting('wal_level')"


def check_ready(settings: Settings) -> None:
    """Prove what can be proved without writing.

    Raises:
        Unreachable: The database does not answer.
        Fatal: A table is missing or has no key, the server does not keep what replication needs, the user may not.
    """
    with settings.connected() as connection, translated("looking at the database"):
        for wanted in settings.tables:
            check_identity(describe(connection, wanted.name), full=not settings.fetches)
        row = connection.execute(_SERVER).fetchone()
        wal_level = row[0] if row else "unknown"
        if wal_level != "logical":
            raise Fatal(
                f"the server runs with wal_level = {wal_level}, which holds too little for replication: "
                "ALTER SYSTEM SET wal_level = 'logical', then restart it (docs/cdc.md, for managed servers)"
            )
        slots.find(connection, settings.slot)
