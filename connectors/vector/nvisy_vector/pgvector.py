"""`vector/pgvector`: an index in Postgres with the pgvector extension.

Guarantee: transactional. Records, deletes, heads and the fence commit together.
The HNSW index is built once a first load is over (`Writer.settle`), from 10,000 records on: a search is exact until
then, and afterwards wherever the index cannot give all of `k`.

The driver is psycopg: a writer is synchronous and has its own thread, and psycopg copies in binary from there.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from nvisy.connector.descriptor import Context, Params, SinkDescriptor
from nvisy.connector.sink import Index, Owner, SinkCapabilities, Writer
from nvisy.errors import Fatal, Refused
from nvisy_vector import _pg_database as database
from nvisy_vector._layout import generation_of, heads_name, physical_name
from nvisy_vector._owner import (
    Marker,
    fenced,
    never_made,
    serving,
    verify,
    verify_layout,
    without_generations,
)

if TYPE_CHECKING:
    from nvisy_vector._pg_database import Connection

HNSW_MAX_DIMENSIONS = 2_000

CAPABILITIES = SinkCapabilities(
    accepts=frozenset({"Embedding"}),
    deletes=True,
    guarantee="transactional",
    max_batch_records=5_000,
    max_batch_bytes=32 << 20,
    max_dimensions=16_000,
    metadata=frozenset({"null", "bool", "int", "float", "str", "list"}),
    generations=True,
)


class PgvectorParams(Params):
    """Parameters of `vector/pgvector`."""

    dsn: SecretStr = Field(
        description="Where the database is: postgresql://user:password@host:port/database."
    )
    collection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,39}$")] = Field(
        description="Name under which applications query the records: a view, or a table of your own."
    )
    distance: Literal["cosine", "l2", "dot"] = Field("cosine", description="How near two vectors are.")
    index: Literal["hnsw", "none"] = Field(
        "hnsw", description="Vector index, built after the first load; none: every search reads all records."
    )
    create: bool = Field(True, description="False: write into a table of your own.")


class PgvectorSink:
    """A collection in a Postgres database."""

    capabilities = CAPABILITIES

    def __init__(self, params: PgvectorParams, generation: int = 1) -> None:
        self._params = params
        self._generation = generation
        self._physical = physical_name(params.collection, create=params.create, generation=generation)

    @property
    def _place(self) -> str:
        return database.place_of(self._params.dsn.get_secret_value())

    @property
    def _where(self) -> str:
        return f'collection "{self._params.collection}" in {self._place}'

    def check(self) -> None:
        """Connect, look for pgvector and for the right to make tables. Writes nothing."""
        with self._connect() as connection, database.translated(self._place, self._where):
            known = "SELECT 1 FROM pg_available_extensions WHERE name = 'vector'"
            if connection.execute(known).fetchone() is None:
                raise Fatal(f"{self._place} has no pgvector: install it on the server")
            rights = "SELECT coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)"
            if connection.execute(rights).fetchone() != (True,):
                raise Fatal(
                    f"{self._place}: this user may not create tables in its schema: GRANT CREATE ON SCHEMA"
                )

    def prepare(self, owner: Owner, *, adopt: bool = False) -> str:
        """Create the collection, or verify it: see `nvisy.connector.sink.Sink`."""
        if self._params.index == "hnsw" and owner.dimensions > HNSW_MAX_DIMENSIONS:
            raise Fatal(
                f"{self._where}: pgvector indexes at most {HNSW_MAX_DIMENSIONS} dimensions, and {owner.model} makes "
                f'{owner.dimensions}: set "index": "none", or use a model with fewer'
            )
        with (
            self._connect() as connection,
            database.translated(self._place, self._where),
            connection.transaction(),
        ):
            return self._prepare(connection, owner, adopt)

    def open(self, token: int) -> Writer:
        """Start writing: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector._pg_writer import PgvectorWriter  # noqa: PLC0415

        with self._connect() as connection:
            marker = self._marker(connection, physical=self._physical)
        hnsw = self._params.index == "hnsw"
        return PgvectorWriter(self._connect, marker, token, hnsw=hnsw, place=self._place, where=self._where)

    def index(self, *, own: bool = False) -> Index:
        """Open the collection for reading: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector._pg_index import PgvectorIndex  # noqa: PLC0415

        connection = self._connect()
        try:
            of = {"physical": self._physical} if own else {"collection": self._params.collection}
            marker = self._marker(connection, **of)
            is_shared = not self._params.create
            return PgvectorIndex(connection, marker, self._place, self._where, is_shared=is_shared)
        except BaseException:
            connection.close()
            raise

    def current(self) -> int | None:
        """Which generation readers see: see `nvisy.connector.sink.Sink`."""
        if not self._params.create:
            raise without_generations(self._where)
        with self._connect() as connection, database.translated(self._place, self._where):
            marker = database.marker_of(connection, collection=self._params.collection)
        return generation_of(marker.physical) if marker is not None else None

    def serve(self, token: int) -> None:
        """Show readers this generation: see `nvisy.connector.sink.Sink`."""
        with self._changing(token) as connection:
            if database.marker_of(connection, physical=self._physical) is None:
                raise never_made(self._where)
            database.point_view(connection, self._params.collection, self._physical, token, self._where)

    def drop(self, token: int) -> None:
        """Remove this generation: see `nvisy.connector.sink.Sink`."""
        with self._changing(token) as connection:
            marker = database.marker_of(connection, physical=self._physical)
            if marker is not None and marker.current:
                raise serving(self._where)
            if marker is not None:
                database.drop(connection, self._physical)

    @contextmanager
    def _changing(self, token: int) -> Iterator[Connection]:
        """A transaction of the owner with this token over all generations of the collection."""
        if not self._params.create:
            raise without_generations(self._where)
        with (
            self._connect() as connection,
            database.translated(self._place, self._where),
            connection.transaction(),
        ):
            database.lock(connection)
            connection.execute(database.COLLECTIONS)
            highest = database.highest_token(connection, self._params.collection)
            if highest > token:
                raise fenced(self._where, token, highest)
            yield connection

    def _connect(self) -> Connection:
        return database.connect(self._params.dsn.get_secret_value(), f"nvisy {self._params.collection}")

    def _prepare(self, connection: Connection, owner: Owner, adopt: bool) -> str:
        if not self._params.create and self._generation != 1:
            raise without_generations(self._where)
        database.create_extension(connection)
        database.lock(connection)
        connection.execute(database.COLLECTIONS)
        marker = database.marker_of(connection, physical=self._physical)
        records = database.exists(connection, self._physical)
        if marker is not None and records:
            verify(marker, owner, self._params.distance, self._where, adopt=adopt)
            if database.exists(connection, heads_name(self._physical)):
                self._verify_table(connection, owner)
                database.adopt(connection, self._physical, owner.log)
                return marker.collection_id
        if marker is None and records and self._params.create:
            raise Refused(
                f'{self._where} cannot be made: there is a table "{self._physical}" that Nvisy did not make; '
                f'choose another "collection"'
            )
        return self._make(connection, owner)

    def _make(self, connection: Connection, owner: Owner) -> str:
        if self._params.create:
            connection.execute(f'DROP TABLE IF EXISTS "{self._physical}" CASCADE')
            database.create_records(connection, self._physical, owner.dimensions)
        self._verify_table(connection, owner)
        database.create_heads(connection, self._physical)
        seen = self._is_seen(connection)
        marker = Marker(str(uuid.uuid4()), self._physical, owner, self._params.distance, current=seen)
        database.put_marker(connection, marker, self._params.collection)
        return marker.collection_id

    def _is_seen(self, connection: Connection) -> bool:
        """Whether readers see this generation, or will since they see none yet."""
        current = database.marker_of(connection, collection=self._params.collection)
        return current is None or current.physical == self._physical

    def _verify_table(self, connection: Connection, owner: Owner) -> None:
        name = self._params.collection
        if self._params.create:
            if self._is_seen(connection):
                database.create_view(connection, name, self._physical, self._where)
        elif database.exists(connection, name):
            database.verify_users_table(connection, name, owner.dimensions, self._where)
        else:
            raise Refused(f'{self._where}: there is no such table, and "create" is false')

    def _marker(self, connection: Connection, *, physical: str = "", collection: str = "") -> Marker:
        with database.translated(self._place, self._where):
            marker = database.marker_of(connection, physical=physical, collection=collection)
            if marker is None or not database.exists(connection, marker.physical):
                raise Refused(f"{self._where} does not exist yet: run the graph first")
        verify_layout(marker.layout, self._where)
        return marker


def _open(params: PgvectorParams, context: Context) -> PgvectorSink:
    return PgvectorSink(params, context.generation)


DESCRIPTOR = SinkDescriptor(
    name="vector/pgvector",
    summary="An index in Postgres with pgvector, its records, deletes and versions in one transaction.",
    params=PgvectorParams,
    capabilities=CAPABILITIES,
    open=_open,
    place=lambda params: (params.dsn, params.collection),
    example={"dsn": "${NVISY_PG_DSN:-postgresql://localhost/nvisy}", "collection": "docs"},
)
