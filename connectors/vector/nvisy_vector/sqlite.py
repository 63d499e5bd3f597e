"""`vector/sqlite`: an index in one file, with sqlite-vec's distances. Needs no server; the embedded default.

Guarantee: transactional. Records, deletes, heads and the fence commit together, with synchronous=FULL.
Reading: any number of processes, also while one writes. A search is exact and reads every record, some 70 ms for
100,000 of 256 dimensions; from some 300,000 on, another store answers sooner.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StringConstraints

from nvisy.connector.descriptor import Context, Params, SinkDescriptor
from nvisy.connector.sink import Index, Owner, SinkCapabilities, Writer
from nvisy.errors import Fatal, Refused
from nvisy_vector import _sqlite_file as file
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
    import apsw

CAPABILITIES = SinkCapabilities(
    accepts=frozenset({"Embedding"}),
    deletes=True,
    guarantee="transactional",
    max_batch_records=5_000,
    max_batch_bytes=32 << 20,
    max_dimensions=None,
    metadata=frozenset({"null", "bool", "int", "float", "str", "list"}),
    generations=True,
)


class SqliteParams(Params):
    """Parameters of `vector/sqlite`."""

    path: Path = Field(description="The file, made if need be. Not on a network file system.")
    collection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,39}$")] = Field(
        description="Name under which applications query the records: a view, or a table of your own."
    )
    distance: Literal["cosine", "l2", "dot"] = Field("cosine", description="How near two vectors are.")
    create: bool = Field(True, description="False: write into a table of your own.")


class SqliteSink:
    """A collection in an SQLite file."""

    capabilities = CAPABILITIES

    def __init__(self, params: SqliteParams, generation: int = 1) -> None:
        self._params = params
        self._path = params.path
        self._generation = generation
        self._physical = physical_name(params.collection, create=params.create, generation=generation)
        self._where = f'collection "{params.collection}" in {params.path}'

    def check(self) -> None:
        """Open the file if there is one, else see whether it could be made. Writes nothing."""
        with file.translated(self._path, self._where):
            if self._path.exists():
                file.connect(self._path, write=False).close()
        _check_folder(self._path)

    def prepare(self, owner: Owner, *, adopt: bool = False) -> str:
        """Create the collection, or verify it: see `nvisy.connector.sink.Sink`."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Fatal(f"the folder {self._path.parent} cannot be made: {error.strerror}") from error
        with file.translated(self._path, self._where):
            connection = file.connect(self._path, write=True)
            try:
                with file.transaction(connection):
                    return self._prepare(connection, owner, adopt)
            finally:
                connection.close()

    def open(self, token: int) -> Writer:
        """Start writing: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector._sqlite_writer import SqliteWriter  # noqa: PLC0415

        connection = self._existing(write=True)
        try:
            marker = self._marker(connection, physical=self._physical)
            return SqliteWriter(connection, self._path, marker, token, self._where)
        except BaseException:
            connection.close()
            raise

    def index(self, *, own: bool = False) -> Index:
        """Open the collection for reading: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector._sqlite_index import SqliteIndex  # noqa: PLC0415

        connection = self._existing(write=False)
        try:
            of = {"physical": self._physical} if own else {"collection": self._params.collection}
            marker = self._marker(connection, **of)
            is_shared = not self._params.create
            return SqliteIndex(connection, self._path, marker, self._where, is_shared=is_shared)
        except BaseException:
            connection.close()
            raise

    def current(self) -> int | None:
        """Which generation readers see: see `nvisy.connector.sink.Sink`."""
        if not self._params.create:
            raise without_generations(self._where)
        if not self._path.exists():
            return None
        with file.translated(self._path, self._where), closing(file.connect(self._path, write=False)) as db:
            marker = file.marker_of(db, collection=self._params.collection)
        return generation_of(marker.physical) if marker is not None else None

    def serve(self, token: int) -> None:
        """Show readers this generation: see `nvisy.connector.sink.Sink`."""
        with self._changing(token) as connection:
            if file.marker_of(connection, physical=self._physical) is None:
                raise never_made(self._where)
            file.point_view(connection, self._params.collection, self._physical, token)

    def drop(self, token: int) -> None:
        """Remove this generation: see `nvisy.connector.sink.Sink`."""
        with self._changing(token) as connection:
            marker = file.marker_of(connection, physical=self._physical)
            if marker is not None and marker.current:
                raise serving(self._where)
            if marker is not None:
                file.drop(connection, self._physical)

    @contextmanager
    def _changing(self, token: int) -> Iterator[apsw.Connection]:
        """A transaction of the owner with this token over all generations of the collection."""
        if not self._params.create:
            raise without_generations(self._where)
        connection = self._existing(write=True)
        try:
            with file.translated(self._path, self._where), file.transaction(connection):
                connection.execute(file.COLLECTIONS)
                highest = file.highest_token(connection, self._params.collection)
                if highest > token:
                    raise fenced(self._where, token, highest)
                yield connection
        finally:
            connection.close()

    def _prepare(self, connection: apsw.Connection, owner: Owner, adopt: bool) -> str:
        if not self._params.create and self._generation != 1:
            raise without_generations(self._where)
        connection.execute(file.COLLECTIONS)
        marker = file.marker_of(connection, physical=self._physical)
        records = file.exists(connection, self._physical)
        if marker is not None and records:
            verify(marker, owner, self._params.distance, self._where, adopt=adopt)
            if file.exists(connection, heads_name(self._physical)):
                self._verify_table(connection, owner)
                file.adopt(connection, self._physical, owner.log)
                return marker.collection_id
        if marker is None and records and self._params.create:
            raise Refused(
                f'{self._where} cannot be made: there is a table "{self._physical}" that Nvisy did not make; '
                f'choose another "collection"'
            )
        return self._make(connection, owner)

    def _make(self, connection: apsw.Connection, owner: Owner) -> str:
        if self._params.create:
            file.create_records(connection, self._physical)
        self._verify_table(connection, owner)
        file.create_heads(connection, self._physical)
        seen = self._is_seen(connection)
        marker = Marker(str(uuid.uuid4()), self._physical, owner, self._params.distance, current=seen)
        file.put_marker(connection, marker, self._params.collection)
        return marker.collection_id

    def _is_seen(self, connection: apsw.Connection) -> bool:
        """Whether readers see this generation, or will since they see none yet."""
        current = file.marker_of(connection, collection=self._params.collection)
        return current is None or current.physical.lower() == self._physical.lower()

    def _verify_table(self, connection: apsw.Connection, owner: Owner) -> None:
        name = self._params.collection
        if self._params.create:
            if self._is_seen(connection):
                file.create_view(connection, name, self._physical, self._where)
        elif file.exists(connection, name):
            file.verify_users_table(connection, name, owner.dimensions, self._where)
        else:
            raise Refused(f'{self._where}: there is no such table, and "create" is false')

    def _existing(self, *, write: bool) -> apsw.Connection:
        if not self._path.exists():
            raise Refused(f"{self._where}: there is no such file yet; run the graph first")
        with file.translated(self._path, self._where):
            return file.connect(self._path, write=write)

    def _marker(self, connection: apsw.Connection, *, physical: str = "", collection: str = "") -> Marker:
        with file.translated(self._path, self._where):
            marker = file.marker_of(connection, physical=physical, collection=collection)
            if marker is None or not file.exists(connection, marker.physical):
                raise Refused(f"{self._where} does not exist yet: run the graph first")
        verify_layout(marker.layout, self._where)
        return marker


def _check_folder(path: Path) -> None:
    import os  # noqa: PLC0415

    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise Fatal(f"{path} cannot be made: {folder} is not a folder that this user may write to")


def _open(params: SqliteParams, context: Context) -> SqliteSink:
    return SqliteSink(params, context.generation)


DESCRIPTOR = SinkDescriptor(
    name="vector/sqlite",
    summary="An index in one SQLite file, searched exactly; for up to some 300,000 records.",
    params=SqliteParams,
    capabilities=CAPABILITIES,
    open=_open,
    place=lambda params: (params.path, params.collection),
    example={"path": ".nvisy/index.db", "collection": "docs"},
)
