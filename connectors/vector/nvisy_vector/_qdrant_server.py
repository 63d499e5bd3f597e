"""A Qdrant server with collections in it: connecting, making and marking them, errors in words."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from qdrant_client import QdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from nvisy.connector.sink import Owner
from nvisy.errors import Fatal, Refused, Rejected, Transient, Unreachable
from nvisy.primitives.primitive import derive_id
from nvisy_vector._layout import heads_name
from nvisy_vector._owner import Marker, gone

OLDEST_SERVER = (1, 16)
"""The first one that refuses an upsert by a filter; older ones ignore the filter, and an old writer would win."""

WRITE_TIMEOUT_S = 4
READ_TIMEOUT_S = 60
DISTANCES = {"cosine": models.Distance.COSINE, "l2": models.Distance.EUCLID, "dot": models.Distance.DOT}

_MARKER_ID = derive_id("nvisy", "marker")
_DUMMY = models.VectorParams(size=1, distance=models.Distance.DOT, hnsw_config=models.HnswConfigDiff(m=0))


def connect(url: str, api_key: str | None, timeout_s: int) -> QdrantClient:
    """A client; nothing is sent yet."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Api key is used with an insecure connection")
        return QdrantClient(url=url, api_key=api_key, timeout=timeout_s, check_compatibility=False)


def place_of(url: str) -> str:
    """Where a URL leads, without what may be secret in it."""
    parts = urlsplit(url)
    return f"Qdrant at {parts.hostname}:{parts.port or 6333}"


def check_version(client: QdrantClient, place: str) -> None:
    """Refuse a server that would ignore what keeps an old writer from winning."""
    version = client.info().version
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST_SERVER:
        oldest = ".".join(str(number) for number in OLDEST_SERVER)
        raise Fatal(f"{place} is version {version}, and Nvisy needs {oldest} or newer: upgrade the server")


def marker_of(client: QdrantClient, physical: str) -> Marker | None:
    """The marker of a physical collection, or None."""
    heads = heads_name(physical)
    if not client.collection_exists(heads):
        return None
    points = client.retrieve(heads, [_MARKER_ID])
    if not points:
        return None
    found = points[0].payload or {}
    owner = Owner(found["graph"], found["log"], found["model"], found["dimensions"])
    return Marker(found["collection_id"], physical, owner, found["distance"], found["token"], found["layout"])


def make_heads(client: QdrantClient, marker: Marker) -> None:
    """Make the heads of a collection, its marker among them, and before the collection itself.

    So a collection without a marker is never one that we began to make.
    """
    heads = heads_name(marker.physical)
    client.delete_collection(heads)
    client.create_collection(heads, vectors_config=_DUMMY)
    owner = marker.owner
    payload = {
        "collection_id": marker.collection_id,
        "layout": marker.layout,
        "graph": owner.graph,
        "log": owner.log,
        "model": owner.model,
        "dimensions": owner.dimensions,
        "distance": marker.distance,
        "token": marker.token,
    }
    client.upsert(heads, [models.PointStruct(id=_MARKER_ID, vector=[1.0], payload=payload)])


def take_over(client: QdrantClient, marker: Marker, token: int) -> None:
    """Raise the marker's token to ours, unless it is higher or another log's."""
    lower = models.FieldCondition(key="token", range=models.Range(lt=token))
    ours = models.FieldCondition(key="log", match=models.MatchValue(value=marker.owner.log))
    only = models.Filter(must=[models.HasIdCondition(has_id=[_MARKER_ID]), lower, ours])
    client.set_payload(heads_name(marker.physical), {"token": token}, points=only)


def adopt(client: QdrantClient, physical: str, log: str) -> None:
    """Hand a collection over to another log, whose tokens begin anew."""
    only = models.Filter(must=[models.HasIdCondition(has_id=[_MARKER_ID])])
    client.set_payload(heads_name(physical), {"log": log, "token": 0}, points=only)


def make_records(client: QdrantClient, physical: str, dimensions: int, distance: str) -> None:
    """Make the collection of records. Qdrant builds its HNSW index by itself as the collection grows."""
    vectors = models.VectorParams(size=dimensions, distance=DISTANCES[distance])
    client.create_collection(physical, vectors_config=vectors)


def index_payload(client: QdrantClient, physical: str) -> None:
    """Let deletes, sweeps and listings find what they look for without reading all; made once, harmless after."""
    keyword, integer = models.PayloadSchemaType.KEYWORD, models.PayloadSchemaType.INTEGER
    for name in (physical, heads_name(physical)):
        client.create_payload_index(name, "key", keyword)
        client.create_payload_index(name, "lane", keyword)
        client.create_payload_index(name, "version", integer)


def point_alias(client: QdrantClient, collection: str, physical: str, where: str) -> None:
    """Let applications query the current generation under the name they gave."""
    current = physical_of(client, collection)
    if current is None and client.collection_exists(collection):
        raise Refused(
            f'{where} cannot be made: there is a collection "{collection}" already; to write into it, '
            f'set "create": false, else choose another "collection"'
        )
    if current is None:
        alias = models.CreateAlias(collection_name=physical, alias_name=collection)
        client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])


def move_alias(client: QdrantClient, collection: str, physical: str) -> None:
    """Let the name lead to another generation, in one step."""
    steps: list[models.DeleteAliasOperation | models.CreateAliasOperation] = []
    if physical_of(client, collection) is not None:
        steps.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=collection)))
    alias = models.CreateAlias(collection_name=physical, alias_name=collection)
    client.update_collection_aliases([*steps, models.CreateAliasOperation(create_alias=alias)])


def markers_of(client: QdrantClient, collection: str) -> list[Marker]:
    """The markers of all generations of a collection."""
    ours = re.compile(rf"{re.escape(collection)}__\d+{re.escape(heads_name(''))}")
    names = [one.name for one in client.get_collections().collections if ours.fullmatch(one.name)]
    found = (marker_of(client, name.removesuffix(heads_name(""))) for name in names)
    return [marker for marker in found if marker is not None]


def drop(client: QdrantClient, physical: str) -> None:
    """Remove a generation whole: its marker, which says that it is ours, last."""
    client.delete_collection(physical)
    client.delete_collection(heads_name(physical))


def physical_of(client: QdrantClient, collection: str) -> str | None:
    """The collection that an alias leads to, or None where there is no such alias."""
    aliases = client.get_aliases().aliases
    return next((a.collection_name for a in aliases if a.alias_name == collection), None)


def verify_vectors(client: QdrantClient, physical: str, owner: Owner, distance: str, where: str) -> None:
    """Refuse a collection whose vectors are of another length, distance or kind."""
    vectors = client.get_collection(physical).config.params.vectors
    if not isinstance(vectors, models.VectorParams):
        raise Fatal(f"{where} has named vectors, or none: it needs one vector without a name")
    if vectors.size != owner.dimensions:
        raise Fatal(
            f"{where} holds vectors of {vectors.size} dimensions, and {owner.model} makes {owner.dimensions}: "
            f'give this sink another "collection"'
        )
    if vectors.distance != DISTANCES[distance]:
        raise Fatal(f'{where} was made for the distance {vectors.distance}, and the graph says "{distance}"')


@contextmanager
def translated(place: str, where: str, lost: type[Transient | Unreachable] = Unreachable) -> Iterator[None]:
    """Turn Qdrant's errors into ours: what happened, and what to do. `lost`: what no answer is."""
    try:
        yield
    except ResponseHandlingException as error:
        raise lost(f"{place} does not answer: {error.source}") from error
    except ResourceExhaustedResponse as error:
        raise Transient(f"{place} has too much to do", retry_after_s=error.retry_after_s) from error
    except QdrantException as error:  # a Retry-After that is no number of seconds, but a date
        raise Transient(f"{place} has too much to do: {error}") from error
    except UnexpectedResponse as error:
        raise _answered(error, place, where) from error


def _answered(error: UnexpectedResponse, place: str, where: str) -> Exception:
    status = error.status_code or 0
    said = error.content.decode(errors="replace")[:300]
    if status in {401, 403}:
        return Fatal(f'{place} refuses these credentials: see the "apiKey"')
    if status == 404:
        return gone(where)
    if status < 500 and status not in {408, 429}:
        return Rejected(f"{where} does not take it: {said}", kind="sink")
    if "No space left" in said or "disk" in said.lower():
        return Fatal(f"the disk of {place} is full: free some space and run again")
    return Transient(f"{place} could not do it ({status}): {said}", retry_after_s=_retry_after_s(error))


def _retry_after_s(error: UnexpectedResponse) -> float | None:
    """What an answer other than 429 asks for, a 503 usually."""
    said = error.headers.get("retry-after", "")
    return float(said) if said.isdecimal() else None
