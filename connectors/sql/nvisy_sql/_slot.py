"""The replication slot: how the server remembers what we have not read yet. What can become of it, and what to do."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nvisy.errors import Fatal, Refused
from nvisy_sql._connect import translated
from nvisy_sql._lsn import lsn_of, shown

if TYPE_CHECKING:
    from nvisy_sql._connect import Connection

HELD_S = 90.0
"""How long a slot may be held by a reader that is gone: a server notices after `wal_sender_timeout`, often 60 s."""

SAID_AFTER_S = 2.0

HOW_TO_READ_ANEW = (
    "what changed meanwhile cannot be read any more; to read everything again, and remove what that does not confirm, "
    "run with --adopt (docs/cdc.md)"
)

_log = logging.getLogger(__name__)
_HEALTH = """SELECT active, wal_status, pg_wal_lsn_diff(written, restart_lsn)::bigint,
    pg_wal_lsn_diff(written, confirmed_flush_lsn)::bigint
  FROM pg_replication_slots, LATERAL (
    SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END AS written
  ) AS log WHERE slot_name = %s"""
_SLOT = "SELECT to_jsonb(s), current_database() FROM pg_replication_slots s WHERE slot_name = %s"


@dataclass(frozen=True, slots=True)
class Slot:
    """A logical slot as `pg_replication_slots` shows it."""

    name: str
    confirmed_lsn: int
    lost: str
    holder: int | None


def find(connection: Connection, name: str) -> Slot | None:
    """The slot of this name, or None.

    Raises:
        Fatal: It is a slot of another kind, or of another database.
    """
    with translated(f"replication slot {name}"):
        row = connection.execute(_SLOT, (name,)).fetchone()
    if row is None:
        return None
    found, database = row
    if found["plugin"] != "pgoutput" or found["database"] != database:
        raise Fatal(
            f"replication slot {name} is one of {found['plugin'] or 'physical replication'} in database "
            f'{found["database"]}: choose another "slot"'
        )
    return Slot(
        name,
        lsn_of(found["confirmed_flush_lsn"] or "0/0"),
        _why_lost(found),
        found["active_pid"],
    )


def health(connection: Connection, name: str) -> dict[str, str | int]:
    """How a slot is: whether it is read, and what the server keeps for it; `state` is `missing` where there is none."""
    with translated(f"replication slot {name}"):
        row = connection.execute(_HEALTH, (name,)).fetchone()
    if row is None:
        return {"slot": name, "state": "missing"}
    is_read, wal_status, kept_bytes, behind_bytes = row
    facts = {"wal_status": wal_status, "kept_wal_bytes": kept_bytes, "behind_bytes": behind_bytes}
    known = {name: value for name, value in facts.items() if value is not None}
    return {"slot": name, "state": "read" if is_read else "waiting", **known}


def when_free(connection: Connection, name: str) -> Slot | None:
    """The slot once nobody reads it.

    Raises:
        Refused: Another reader goes on reading it.
    """
    until = time.monotonic() + HELD_S
    said = False
    while (slot := find(connection, name)) is not None and slot.holder is not None:
        if not said and time.monotonic() > until - HELD_S + SAID_AFTER_S:
            said = True
            _log.warning("replication slot %s is held by server process %s: waiting", name, slot.holder)
        if time.monotonic() > until:
            raise Refused(
                f"replication slot {name} is read by another process, server process {slot.holder}: end that reader, "
                'or give this source a "slot" of its own'
            )
        time.sleep(0.1)
    return slot


def drop(connection: Connection, name: str) -> None:
    """Let go of a slot that is of no use any more."""
    with translated(f"replication slot {name}"):
        connection.execute("SELECT pg_drop_replication_slot(%s)", (name,))


def gap(name: str, why: str) -> Refused:
    """What to raise where changes are missing."""
    return Refused(f"gap: replication slot {name}: {why}; {HOW_TO_READ_ANEW}")


def check_resumable(slot: Slot | None, name: str, lsn: int) -> None:
    """Refuse to go on where the server does not have everything behind `lsn` any more.

    Raises:
        Refused: There is a gap.
    """
    if slot is None:
        raise gap(name, "it is gone: somebody dropped it, or this is another server than before")
    if slot.lost:
        raise gap(name, slot.lost)
    if slot.confirmed_lsn > lsn:
        raise gap(
            name,
            f"it goes on at {shown(slot.confirmed_lsn)}, and was read here up to {shown(lsn)} only: it was made anew, "
            "or somebody else has read it",
        )


def _why_lost(found: dict[str, Any]) -> str:
    reason = found.get("invalidation_reason")
    if found["wal_status"] == "lost" or reason:
        limit = "max_slot_wal_keep_size" if reason in (None, "wal_removed") else "the server's settings"
        return f"the server has given it up ({reason or 'wal_removed'}), as {limit} told it to"
    if found.get("conflicting"):
        return "it conflicts with recovery on this standby"
    return ""
