"""Connectors, actions and models small enough to see through, for graphs in tests."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, SecretStr

from nvisy.catalog import Catalog
from nvisy.connector.descriptor import (
    ActionDescriptor,
    ModelDescriptor,
    Params,
    SinkDescriptor,
    SourceDescriptor,
)
from nvisy.connector.fields import fields_of
from nvisy.connector.shape import Shape, ShapeMismatch
from nvisy.connector.sink import SinkCapabilities
from nvisy.connector.source import SourceCapabilities
from nvisy.errors import ExpressionError, Fault, GraphError
from nvisy.expressions import FieldType, compile  # noqa: A004
from nvisy.graph.validate import CheckedGraph, _checked, check, check_file
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.document import Document
from nvisy.primitives.embedding import Embedding


class FilesParams(Params):
    path: Path = Field(description="Folder.")
    glob: str = Field("**/*", description="Which files.")


class TextParams(Params):
    pass


class ChunkParams(Params):
    size: int = Field(1200, ge=1, description="Characters of a chunk.")
    overlap: int = Field(0, ge=0, description="Characters shared with the chunk before.")


class FilterParams(Params):
    when: str = Field(description="Expression.")


class EmbedParams(Params):
    model: str = Field(description="A model.")
    dimensions: int | None = None


class IndexParams(Params):
    path: Path = Path(".nvisy/index.db")
    collection: str


class RemoteParams(Params):
    dsn: SecretStr
    collection: str
    distance: Literal["cosine", "l2"] = "cosine"


class EventsParams(Params):
    topic: str


class HashParams(Params):
    dimensions: int = Field(256, ge=1)


class OpenAiParams(Params):
    model: str
    apiKey: SecretStr  # noqa: N815 - as in JSON


def _never(*_: Any) -> Any:
    raise AssertionError("nothing is opened while a graph is checked")


def _extract(_params: TextParams, incoming: Shape, _models: Any) -> Shape:
    _expect(incoming, Document)
    return Shape(Document)


def _chunk(_params: ChunkParams, incoming: Shape, _models: Any) -> Shape:
    _expect(incoming, Document)
    if incoming.raw:
        raise ShapeMismatch("the documents may still be bytes", "put an extract before it")
    return Shape(Chunk)


def _filter(params: FilterParams, incoming: Shape, _models: Any) -> Shape:
    try:
        compile(params.when, fields_of(incoming.primitive), FieldType.BOOL)
    except ExpressionError as error:
        raise ShapeMismatch(str(error), param="/when") from error
    return incoming


def _embed(params: EmbedParams, incoming: Shape, models: Any) -> Shape:
    _expect(incoming, Chunk)
    own = {"dimensions": params.dimensions} if params.dimensions else {}
    revision, dimensions = models(params.model, own)
    return Shape(Embedding, model=revision, dimensions=dimensions)


def _expect(incoming: Shape, primitive: type) -> None:
    if incoming.primitive is not primitive:
        raise ShapeMismatch(f"it takes {primitive.__name__}, not {incoming}")


def source(name: str = "object/files", *, deletes: bool = True, raw: bool = True) -> SourceDescriptor:
    able = SourceCapabilities(frozenset({"Document"}), raw, deletes, bounded=True, resume="listing")
    return SourceDescriptor(
        name, "files", FilesParams, able, _never, lambda _params: Shape(Document, raw=raw)
    )


def sink(
    name: str,
    params: type[Params],
    *,
    accepts: str = "Embedding",
    deletes: bool = True,
    longest: int | None = None,
    place: tuple[str, ...] = (),
) -> SinkDescriptor:
    able = SinkCapabilities(
        accepts=frozenset({accepts}),
        deletes=deletes,
        guarantee="transactional",
        max_batch_records=1000,
        max_batch_bytes=1 << 20,
        max_dimensions=longest,
        metadata=frozenset({"string"}),
        generations=False,
    )
    where = (lambda params: tuple(getattr(params, name) for name in place)) if place else None
    return SinkDescriptor(name, "index", params, able, _never, place=where)


def action(
    name: str, params: type[Params], shape: Any, *, cut: bool = False, whole_stream: bool = False
) -> ActionDescriptor:
    return ActionDescriptor(name, name, params, shape, _never, cut, whole_stream)


DESCRIPTORS = (
    source(),
    source("object/lines", deletes=False, raw=False),
    sink("vector/sqlite", IndexParams, place=("path", "collection")),
    sink("vector/remote", RemoteParams, longest=300, place=("dsn", "collection")),
    sink("vector/append", IndexParams, deletes=False),
    sink("vector/placeless", IndexParams),
    sink("topic", EventsParams, accepts="*"),
    action("extract", TextParams, _extract),
    action("chunk", ChunkParams, _chunk),
    action("filter", FilterParams, _filter),
    action("deduplicate", TextParams, lambda _params, incoming, _models: incoming, whole_stream=True),
    action("embed", EmbedParams, _embed, cut=True),
    ModelDescriptor("local/hash", "", HashParams, lambda params: ("1", params.dimensions), _never),
    ModelDescriptor("openai", "", OpenAiParams, lambda _params: ("2024", 1536), _never),
)
CATALOG = Catalog.of(DESCRIPTORS)

NODES: dict[str, dict[str, Any]] = {
    "files": {"id": "files", "type": "source", "provider": "object/files", "params": {"path": "docs"}},
    "text": {"id": "text", "type": "action", "action": "extract"},
    "chunk": {"id": "chunk", "type": "action", "action": "chunk", "params": {"size": 400}},
    "embed": {"id": "embed", "type": "action", "action": "embed", "params": {"model": "local/hash"}},
    "index": {"id": "index", "type": "sink", "provider": "vector/sqlite", "params": {"collection": "docs"}},
}


def chain(**changed: Any) -> dict[str, Any]:
    """files → text → chunk → embed → index, with other nodes in place of some."""
    nodes = {**NODES, **changed}
    ids = list(nodes)
    edges = [{"from": a, "to": b} for a, b in pairwise(ids)]
    return {"name": "docs", "nodes": list(nodes.values()), "edges": edges}


def faults(value: Any, *, environ: dict[str, str] | None = None, catalog: Catalog = CATALOG) -> list[Fault]:
    """Everything wrong with a graph given as JSON values."""
    from nvisy.graph.origin import Origin
    from nvisy.graph.parse import read

    with pytest.raises(GraphError) as caught:
        _checked(read(value, Origin(), catalog.names("nvisy.actions")), catalog, environ or {})
    return caught.value.faults


def lint(text: str, folder: Path, *, environ: dict[str, str] | None = None) -> list[str]:
    """What `nvisy lint graph.json` would say about this text."""
    file = folder / "graph.json"
    file.write_text(text)
    with pytest.raises(GraphError) as caught:
        check_file(file, CATALOG, environ or {})
    return [str(fault).replace(f"{folder}/", "") for fault in caught.value.faults]


def checked(value: Any, *, environ: dict[str, str] | None = None, catalog: Catalog = CATALOG) -> CheckedGraph:
    """The graph, which must be in order."""
    from nvisy.graph.origin import Origin
    from nvisy.graph.parse import read

    return check(read(value, Origin(folder=Path("/graphs"))).require(), catalog, environ or {})
