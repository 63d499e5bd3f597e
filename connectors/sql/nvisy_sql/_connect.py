"""Connecting to Postgres, and its errors in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nvisy.errors import Fatal, Unreachable

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_S = 4
_SETTINGS = (
    "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=iso_8601 -c extra_float_digits=1 -c bytea_output=hex"
    " -c lock_timeout=30s -c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
)
"""How values are written as text, the same by a query and by the replication stream."""


def connect(dsn: str, application: str, **more: Any) -> Connection:
    """Connect, within some seconds; what the DSN says of time-outs and names goes before our own.

    Raises:
        Unreachable: Nobody answers there, or not now.
        Fatal: The DSN, the credentials or the database are wrong.
    """
    import psycopg  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        message = (
            'the "dsn" is not one that Postgres understands: postgresql://user:password@host:port/database'
        )
        raise Fatal(message) from None
    ours = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": application[:63],
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 5,
    }
    options = f"{given.pop('options', '')} {_SETTINGS}".strip()
    fixed = {"options": options, "client_encoding": "UTF8", **more}
    try:
        return psycopg.connect(**{**ours, **given, **fixed}, autocommit=True)
    except psycopg.OperationalError as error:
        raise _not_connected(given, str(error)) from None


def place_of(dsn: str) -> str:
    """Where a DSN leads, without user and password: `postgresql://host:5432/database`."""
    import psycopg  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        given = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "postgresql:"
    host = given.get("host") or given.get("hostaddr") or "localhost"
    port = f":{given['port']}" if given.get("port") else ""
    return f"postgresql://{host}{port}/{given.get('dbname') or given.get('user') or ''}"


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn Postgres's errors into ours: `what` was being done.

    Raises:
        Unreachable: The connection broke.
        Fatal: Postgres refuses.
    """
    import psycopg  # noqa: PLC0415
    from psycopg import errors  # noqa: PLC0415

    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise Fatal(f"{what}: {said(error)}; docs/cdc.md lists what to grant") from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise Unreachable(f"{what}: {said(error)}") from error
    except psycopg.Error as error:
        raise Fatal(f"{what}: {said(error)}") from error


def said(error: Any) -> str:
    """What the server said, in one line."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = str(primary or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _not_connected(given: dict[str, Any], message: str) -> Fatal | Unreachable:
    lines = message.strip().splitlines() or ["no answer"]
    reason = next((line for line in reversed(lines) if "failed: " in line), lines[0]).rpartition("failed: ")[
        2
    ]
    place = f"Postgres at {given.get('host') or given.get('hostaddr') or 'the local socket'}"
    place += f":{given['port']}" if given.get("port") else ""
    if any(sign in message for sign in ("authentication failed", "no pg_hba.conf", "no password supplied")):
        return Fatal(
            f'{place} refuses these credentials ({reason}): see the user and the password in the "dsn"'
        )
    if "must be superuser or replication role" in message or "permission denied to start WAL" in message:
        return Fatal(f"{place}: the user may not replicate: ALTER ROLE … REPLICATION (docs/cdc.md)")
    if "does not exist" in message and "FATAL" in message:
        return Fatal(f"{place}: {reason}")
    return Unreachable(f"{place} cannot be reached: {reason}")
