"""A Postgres database with collections in it: connecting, tables, errors in words."""

# ruff: noqa: S608 - names come from validated parameters, values are bound
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nvisy.connector.sink import Owner
from nvisy.errors import Fatal, Refused, Rejected, Transient, Unreachable
from nvisy_vector._layout import heads_name
from nvisy_vector._owner import Marker, gone

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_TIMEOUT_S = 4

COLLECTIONS = """CREATE TABLE IF NOT EXISTS nvisy_collections (
  physical text PRIMARY KEY, collection text NOT NULL, current boolean NOT NULL, layout integer NOT NULL,
  collection_id text NOT NULL, graph text NOT NULL, log text NOT NULL, model text NOT NULL,
  dimensions integer NOT NULL, distance text NOT NULL, token bigint NOT NULL)"""

HEADS = """CREATE TABLE "{heads}" (
  lane text NOT NULL, key text COLLATE "C" NOT NULL, source text NOT NULL, version bigint NOT NULL,
  digest text NOT NULL, ids text NOT NULL, partition integer NOT NULL, observed_at timestamptz,
  PRIMARY KEY (key, lane))"""

TYPES = {
    "id": "uuid",
    "embedding": "vector",
    "text": "text",
    "key": "text",
    "source_uri": "text",
    "span_start": "integer",
    "span_end": "integer",
    "metadata": "jsonb",
    "lane": "text",
    "source": "text",
    "version": "bigint",
    "content_hash": "text",
    "steps": "text",
    "model": "text",
    "run": "text",
    "observed_at": "timestamptz",
    "topic": "text",
    "partition": "integer",
}
"""Column to type, in the order in which records are copied."""

_MARKER = """SELECT collection_id, physical, graph, log, model, dimensions, distance, token, layout,
  current FROM nvisy_collections WHERE """
_LOCK = "SELECT pg_advisory_xact_lock(hashtext('nvisy_collections'))"
_TYPED = """SELECT attname, format_type(atttypid, NULL), atttypmod FROM pg_attribute
  WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped"""
_GRANTS = """SELECT format('GRANT %%s ON %%s TO %%s%%s', a.privilege_type, c.oid::regclass,
  CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
  CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM pg_class AS c, aclexplode(c.relacl) AS a WHERE c.oid = to_regclass(%s) AND a.grantee <> c.relowner"""
_UNIQUE_ID = """SELECT 1 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
  WHERE indrelid = to_regclass(%s) AND indisunique AND indnkeyatts = 1 AND attname = 'id'"""


def connect(dsn: str, application: str) -> Connection:
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
    ours = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": application, "tcp_user_timeout": 10_000}
    try:
        return psycopg.connect(**{**ours, **given}, autocommit=True)  # type: ignore[arg-type]
    except psycopg.OperationalError as error:
        raise _not_connected(given, str(error)) from None


def place_of(dsn: str) -> str:
    """Where a DSN leads, without its password."""
    import psycopg  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        return _place(conninfo_to_dict(dsn))
    except psycopg.ProgrammingError:
        return "Postgres"


def marker_of(connection: Connection, *, physical: str = "", collection: str = "") -> Marker | None:
    """The marker of a physical collection, or of the current generation of a collection, or None."""
    if not exists(connection, "nvisy_collections"):
        return None
    where, name = ("physical = %s", physical) if physical else ("collection = %s AND current", collection)
    row = connection.execute(_MARKER + where, (name,)).fetchone()
    if row is None:
        return None
    collection_id, physical, graph, log, model, dimensions, distance, token, layout, current = row
    owner = Owner(graph, log, model, dimensions)
    return Marker(collection_id, physical, owner, distance, token, layout, current)


def put_marker(connection: Connection, marker: Marker, collection: str) -> None:
    """Write the marker of a new collection."""
    o = marker.owner
    row = (marker.physical, collection, marker.current, marker.layout, marker.collection_id)
    connection.execute("DELETE FROM nvisy_collections WHERE physical = %s", (marker.physical,))
    connection.execute(
        "INSERT INTO nvisy_collections VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (*row, o.graph, o.log, o.model, o.dimensions, marker.distance, marker.token),
    )


def adopt(connection: Connection, physical: str, log: str) -> None:
    """Hand a collection over to another log, whose tokens begin anew."""
    connection.execute(
        "UPDATE nvisy_collections SET log = %s, token = 0 WHERE physical = %s AND log <> %s",
        (log, physical, log),
    )


def exists(connection: Connection, name: str, kinds: str = "rp") -> bool:
    """Whether the schema has a table of this name; with `kinds` of `v`, a view."""
    query = "SELECT 1 FROM pg_class WHERE oid = to_regclass(%s) AND relkind::text = ANY(%s)"
    return connection.execute(query, (f'"{name}"', list(kinds))).fetchone() is not None


def lock(connection: Connection) -> None:
    """Let one process at a time make collections, until the transaction ends."""
    connection.execute(_LOCK)


def create_extension(connection: Connection) -> None:
    """Make pgvector's type known to the database."""
    import psycopg  # noqa: PLC0415

    if connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone():
        return
    try:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except psycopg.Error as error:
        raise Fatal(
            "the database has no pgvector, and this user may not add it: install pgvector on the server and let "
            "its owner run CREATE EXTENSION vector"
        ) from error


def create_heads(connection: Connection, physical: str) -> None:
    """Make the heads of a collection, without those that an earlier collection of that name left behind."""
    heads = heads_name(physical)
    connection.execute(f'DROP TABLE IF EXISTS "{heads}"')
    connection.execute(HEADS.format(heads=heads))


def create_records(connection: Connection, physical: str, dimensions: int) -> None:
    """Make the table of records; the vector index comes later, when there is something to build it from."""
    special = {
        "id": "uuid PRIMARY KEY",
        "embedding": f"vector({dimensions}) NOT NULL",
        "key": 'text COLLATE "C" NOT NULL',
    }
    columns = ", ".join(f'"{name}" {special.get(name, kind)}' for name, kind in TYPES.items())
    connection.execute(f'CREATE TABLE "{physical}" ({columns})')
    connection.execute(f'CREATE INDEX "{physical}__key" ON "{physical}" (key, lane)')


def create_view(connection: Connection, collection: str, physical: str, where: str) -> None:
    """Let applications query the current generation under the name they gave."""
    if exists(connection, collection):
        raise Refused(
            f'{where} cannot be made: there is a table "{collection}" already; to write into it, '
            f'set "create": false, else choose another "collection"'
        )
    if not exists(connection, collection, "v"):
        _make_view(connection, collection, physical)


def _make_view(connection: Connection, collection: str, physical: str) -> None:
    columns = ", ".join(f'"{name}"' for name in TYPES)
    connection.execute(f'CREATE VIEW "{collection}" AS SELECT {columns} FROM "{physical}"')


def point_view(connection: Connection, collection: str, physical: str, token: int, where: str) -> None:
    """Let the name lead to this generation, for everybody who may use it now.

    A view cannot be changed into one with vectors of other dimensions, so it is dropped and made anew; whoever reads
    it waits until the transaction is over.

    Raises:
        Refused: Somebody built a view of their own on it.
    """
    from psycopg import errors  # noqa: PLC0415

    grants = connection.execute(_GRANTS, (f'"{collection}"',)).fetchall()
    connection.execute(
        "UPDATE nvisy_collections SET current = (physical = %s), token = %s WHERE collection = %s",
        (physical, token, collection),
    )
    try:
        connection.execute(f'DROP VIEW IF EXISTS "{collection}"')
    except errors.DependentObjectsStillExist as error:
        raise Refused(
            f"{where} cannot be pointed at another generation, since something was built on its view"
            f" ({error.diag.message_detail}): let that read the tables it needs in another way, and do this again"
        ) from error
    _make_view(connection, collection, physical)
    for (grant,) in grants:
        connection.execute(grant)


def highest_token(connection: Connection, collection: str) -> int:
    """The highest token that any generation of a collection was opened with."""
    query = "SELECT coalesce(max(token), 0) FROM nvisy_collections WHERE collection = %s"
    row = connection.execute(query, (collection,)).fetchone()
    return int(row[0]) if row else 0


def drop(connection: Connection, physical: str) -> None:
    """Remove a generation whole."""
    for name in (physical, heads_name(physical)):
        connection.execute(f'DROP TABLE IF EXISTS "{name}"')
    connection.execute("DELETE FROM nvisy_collections WHERE physical = %s", (physical,))


def verify_users_table(connection: Connection, table: str, dimensions: int, where: str) -> None:
    """Refuse to write into a table of the user's own that lacks what a record needs."""
    rows = connection.execute(_TYPED, (f'"{table}"',)).fetchall()
    kinds = {name: kind.rpartition(".")[2] for name, kind, _ in rows}
    missing = [f"{name} {kind}" for name, kind in TYPES.items() if name not in kinds]
    if missing:
        raise Refused(f"{where} lacks the columns {', '.join(missing)}: add them")
    for name in ("id", "embedding", "metadata"):
        if kinds[name] != TYPES[name]:
            raise Refused(f'{where}: its column "{name}" is {kinds[name]}, and has to be {TYPES[name]}')
    if connection.execute(_UNIQUE_ID, (f'"{table}"',)).fetchone() is None:
        raise Refused(f'{where} needs its "id" to be the primary key or unique')
    theirs = next(modifier for name, _, modifier in rows if name == "embedding")
    if theirs not in {-1, dimensions}:
        raise Fatal(f"{where} holds vectors of {theirs} dimensions, and the graph's model makes {dimensions}")


@contextmanager
def translated(place: str, where: str) -> Iterator[None]:
    """Turn Postgres's errors into ours: what happened, and what to do."""
    import psycopg  # noqa: PLC0415
    from psycopg import errors  # noqa: PLC0415

    try:
        yield
    except errors.DiskFull as error:
        raise Fatal(f"the disk of {place} is full: free some space and run again") from error
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
        raise Fatal(f"{where} cannot be written: {error.diag.message_primary}") from error
    except errors.UndefinedTable as error:
        raise gone(where) from error
    except (psycopg.DataError, psycopg.IntegrityError, errors.ProgramLimitExceeded) as error:
        raise Rejected(
            f"{where} does not take it: {error.diag.message_primary or error}", kind="sink"
        ) from error
    except (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        errors.IdleInTransactionSessionTimeout,  # we were paused, and others did not wait
    ) as error:
        raise Transient(
            f"{place} did not answer as it should: {error.diag.message_primary or error}"
        ) from error
    except psycopg.Error as error:
        raise Fatal(f"{where}: {error.diag.message_primary or error}") from error


def _not_connected(given: dict[str, Any], said: str) -> Fatal | Unreachable:
    reason = said.strip().splitlines()[-1] if said.strip() else "no answer"
    place = _place(given)
    if any(sign in said for sign in ("authentication failed", "no pg_hba.conf", "no password supplied")):
        return Fatal(
            f'{place} refuses these credentials ({reason}): see the user and the password in the "dsn"'
        )
    if "does not exist" in said and "FATAL" in said:
        return Fatal(f"{place}: {reason}")
    return Unreachable(f"{place} cannot be reached: {reason}")


def _place(given: dict[str, Any]) -> str:
    host = given.get("host") or given.get("hostaddr") or "the local socket"
    port = f":{given['port']}" if given.get("port") else ""
    return f"Postgres at {host}{port}"
