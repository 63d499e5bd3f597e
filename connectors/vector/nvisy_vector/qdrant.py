"""`vector/qdrant`: an index in a Qdrant server, 1.16 or newer, over HTTP.

Guarantee: conditional. Qdrant has no transactions, so every write carries the condition that what it touches is
older. Nothing newer is lost to a writer that was taken over; it may leave records behind that should be gone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints

from nvisy.connector.descriptor import Context, Params, SinkDescriptor
from nvisy.connector.sink import Index, Owner, SinkCapabilities, Writer
from nvisy.errors import Refused, Transient
from nvisy_vector._layout import generation_of, physical_name
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
    from qdrant_client import QdrantClient

CAPABILITIES = SinkCapabilities(
    accepts=frozenset({"Embedding"}),
    deletes=True,
    guarantee="conditional",
    max_batch_records=1_000,
    max_batch_bytes=16 << 20,
    max_dimensions=65_536,
    metadata=frozenset({"null", "bool", "int", "float", "str", "list"}),
    generations=True,
)


class QdrantParams(Params):
    """Parameters of `vector/qdrant`."""

    url: str = Field(description="Where the server is: http://host:6333.")
    collection: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,39}$")] = Field(
        description="Name under which applications query the records: an alias, or a collection of your own."
    )
    api_key: SecretStr | None = Field(None, alias="apiKey", description="Key that the server asks for.")
    distance: Literal["cosine", "l2", "dot"] = Field("cosine", description="How near two vectors are.")
    create: bool = Field(True, description="False: write into a collection of your own.")


class QdrantSink:
    """A collection in a Qdrant server."""

    capabilities = CAPABILITIES

    def __init__(self, params: QdrantParams, generation: int = 1) -> None:
        self._params = params
        self._generation = generation
        self._physical = physical_name(params.collection, create=params.create, generation=generation)

    def check(self) -> None:
        """Reach the server and see its version. Writes nothing."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        client, place, where = self._connect(server.WRITE_TIMEOUT_S)
        try:
            with server.translated(place, where):
                server.check_version(client, place)
                client.collection_exists(self._physical)
        finally:
            client.close()

    def prepare(self, owner: Owner, *, adopt: bool = False) -> str:
        """Create the collection, or verify it: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        client, place, where = self._connect(server.READ_TIMEOUT_S)
        try:
            with server.translated(place, where):
                server.check_version(client, place)
                return self._prepare(client, owner, where, adopt)
        finally:
            client.close()

    def open(self, token: int) -> Writer:
        """Start writing: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415
        from nvisy_vector._qdrant_writer import QdrantWriter  # noqa: PLC0415

        client, place, where = self._connect(server.WRITE_TIMEOUT_S)
        try:
            marker = self._marker(client, place, where)
            return QdrantWriter(client, marker, token, place, where)
        except BaseException:
            client.close()
            raise

    def index(self, *, own: bool = False) -> Index:
        """Open the collection for reading: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415
        from nvisy_vector._qdrant_index import QdrantIndex  # noqa: PLC0415

        client, place, where = self._connect(server.READ_TIMEOUT_S)
        try:
            marker = self._marker(client, place, where, reading=not own)
            return QdrantIndex(client, marker, place, where, is_shared=not self._params.create)
        except BaseException:
            client.close()
            raise

    def current(self) -> int | None:
        """Which generation readers see: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        client, place, where = self._connect(server.READ_TIMEOUT_S)
        try:
            if not self._params.create:
                raise without_generations(where)
            with server.translated(place, where):
                physical = server.physical_of(client, self._params.collection)
        finally:
            client.close()
        return generation_of(physical) if physical is not None else None

    def serve(self, token: int) -> None:
        """Show readers this generation: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        with self._changing(token) as (client, where):
            if server.marker_of(client, self._physical) is None:
                raise never_made(where)
            if server.physical_of(client, self._params.collection) != self._physical:
                server.move_alias(client, self._params.collection, self._physical)

    def drop(self, token: int) -> None:
        """Remove this generation: see `nvisy.connector.sink.Sink`."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        with self._changing(token) as (client, where):
            if server.physical_of(client, self._params.collection) == self._physical:
                raise serving(where)
            if server.marker_of(client, self._physical) is not None:
                server.drop(client, self._physical)

    @contextmanager
    def _changing(self, token: int) -> Iterator[tuple[QdrantClient, str]]:
        """What only the owner with this token may do to the generations of the collection, and nobody after it."""
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        client, place, where = self._connect(server.READ_TIMEOUT_S)
        try:
            if not self._params.create:
                raise without_generations(where)
            with server.translated(place, where, lost=Transient):
                markers = server.markers_of(client, self._params.collection)
                highest = max((marker.token for marker in markers), default=0)
                if highest > token:
                    raise fenced(where, token, highest)
                for marker in markers:
                    server.take_over(client, marker, token)
                yield client, where
        finally:
            client.close()

    def _connect(self, timeout_s: int) -> tuple[QdrantClient, str, str]:
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        key = self._params.api_key
        client = server.connect(self._params.url, key.get_secret_value() if key else None, timeout_s)
        place = server.place_of(self._params.url)
        return client, place, f'collection "{self._params.collection}" in {place}'

    def _prepare(self, client: QdrantClient, owner: Owner, where: str, adopt: bool) -> str:
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        create, name = self._params.create, self._params.collection
        if not create and self._generation != 1:
            raise without_generations(where)
        marker = server.marker_of(client, self._physical)
        records = client.collection_exists(self._physical)
        if not records and not create:
            raise Refused(f'{where}: there is no such collection, and "create" is false')
        if marker is None and records and create:
            raise Refused(
                f'{where} cannot be made: there is a collection "{self._physical}" that Nvisy did not make; '
                f'choose another "collection"'
            )
        if marker is not None and records:
            verify(marker, owner, self._params.distance, where, adopt=adopt)
        if records:
            server.verify_vectors(client, self._physical, owner, self._params.distance, where)
        if create and client.collection_exists(name) and server.physical_of(client, name) is None:
            server.point_alias(client, name, self._physical, where)
        if marker is None or not records:
            marker = Marker(str(uuid.uuid4()), self._physical, owner, self._params.distance)
            server.make_heads(client, marker)
        if not records:
            server.make_records(client, self._physical, owner.dimensions, self._params.distance)
        server.index_payload(client, self._physical)
        if create:
            server.point_alias(client, name, self._physical, where)
        if marker.owner.log != owner.log:
            server.adopt(client, self._physical, owner.log)
        return marker.collection_id

    def _marker(self, client: QdrantClient, place: str, where: str, *, reading: bool = False) -> Marker:
        from nvisy_vector import _qdrant_server as server  # noqa: PLC0415

        with server.translated(place, where):
            current = server.physical_of(client, self._params.collection) if reading else None
            physical = current or self._physical
            marker = server.marker_of(client, physical)
            if marker is None or not client.collection_exists(physical):
                raise Refused(f"{where} does not exist yet: run the graph first")
        verify_layout(marker.layout, where)
        return marker


def _open(params: QdrantParams, context: Context) -> QdrantSink:
    return QdrantSink(params, context.generation)


DESCRIPTOR = SinkDescriptor(
    name="vector/qdrant",
    summary="An index in a Qdrant server: older writes lose, without transactions.",
    params=QdrantParams,
    capabilities=CAPABILITIES,
    open=_open,
    place=lambda params: (params.url, params.collection),
    example={"url": "${NVISY_QDRANT_URL:-http://localhost:6333}", "collection": "docs"},
)
