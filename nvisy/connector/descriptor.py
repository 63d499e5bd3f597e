"""How connectors, actions and models present themselves to the catalogue.

A descriptor is cheap to import: it names things and builds them, and whatever a driver needs is imported when it is
opened. Entry points (`nvisy.connectors`, `nvisy.actions`, `nvisy.models`, `nvisy.primitives`) lead to them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from nvisy.connector.action import Action
from nvisy.connector.model import EmbeddingModel
from nvisy.connector.shape import Shape
from nvisy.connector.sink import SinkCapabilities
from nvisy.connector.source import SourceCapabilities


class Params(BaseModel):
    """Base of every parameter model: unknown names are errors, and each field's description is its documentation.

    A field whose value is a secret is a `pydantic.SecretStr`. A field that is a path is a `pathlib.Path`: the graph
    resolves it against the folder of the graph file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


@dataclass(frozen=True, slots=True)
class Context:
    """What an action or connector may know of its surroundings when it is built.

    Attributes:
        folder: Folder of the graph file: relative paths and a user's modules start there.
        state: Folder for caches that may be lost at any time, `.nvisy`.
        models: Opens an embedding model by name: `(name, params) -> EmbeddingModel`.
        incoming: Shape of what arrives at the node; at a source, of what it yields.
        graph: Id of the graph.
        node: Id of the node.
        follow: The run goes on when everything there is has been read. A stream that never ends by itself ends at
            what there was when it was opened where this is false.
        generation: Of a sink's collection: which one to write.
    """

    folder: Path
    state: Path
    models: Callable[[str, Mapping[str, Any]], EmbeddingModel]
    incoming: Shape
    graph: str = ""
    node: str = ""
    follow: bool = True
    generation: int = 1


Fact = str | int


@dataclass(frozen=True, slots=True)
class SourceDescriptor:
    """A provider of documents, `object/files`. `open` gives a `Source` and connects to nothing yet.

    Attributes:
        topic: For a source that is a topic of the log itself: the topic's name. It needs no stage of its own, and
            `open` is never called: the stage behind it reads the topic through its own seat at the log.
        deletes: `(params) -> whether a key that went away is noticed`, where that depends on them.
        health: `(params, context) -> facts by name` about what the source keeps for its reader on its own side, such as
            how much of a write-ahead log; for `nvisy status`. Changes nothing. Names end in their unit.
    """

    name: str
    summary: str
    params: type[Params]
    capabilities: SourceCapabilities
    open: Callable[[Any, Context], Any]
    shape: Callable[[Any], Shape]
    topic: Callable[[Any], str] | None = None
    deletes: Callable[[Any], bool] | None = None
    health: Callable[[Any, Context], Mapping[str, Fact]] | None = None
    example: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SinkDescriptor:
    """A provider that keeps records, `vector/sqlite`. `open` gives a `Sink` and connects to nothing yet.

    Attributes:
        topic: For a sink that is a topic of the log itself, for other programs: the topic's name. `open` is never
            called: the stage before it writes the topic through its own seat at the log.
        place: `(params) -> place`: where its records go, as a tuple of the parameters that say so. Two sinks of this
            provider whose places are equal share a collection, and vectors of two models must not meet there.
    """

    name: str
    summary: str
    params: type[Params]
    capabilities: SinkCapabilities
    open: Callable[[Any, Context], Any]
    topic: Callable[[Any], str] | None = None
    place: Callable[[Any], Hashable] | None = None
    example: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ActionDescriptor:
    """An action, `chunk`.

    Attributes:
        shape: `(params, incoming, models) -> outgoing`, or raises `ShapeMismatch`. `models(name, params)` gives a
            model's facts without loading it. Expressions among the parameters are compiled here.
        build: Makes the action in the process that runs it.
        cut: Whether a topic follows it by default: what is dear to make again is kept.
        whole_stream: It has to see every partition in one process, and runs as a stage of its own.
        is_repeatable: What it makes depends on the item and its parameters alone, costs nothing and touches nothing
            else: `nvisy verify` may make it again, to see whether an index holds it.
        revision: `(params) -> revision` of what decides beside the parameters what it makes, such as the code of a
            function: with another one, its input is processed again.
    """

    name: str
    summary: str
    params: type[Params]
    shape: Callable[[Any, Shape, Models], Shape]
    build: Callable[[Any, Context], Action]
    cut: bool = False
    whole_stream: bool = False
    is_repeatable: bool = False
    revision: Callable[[Any], str] | None = None
    example: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelDescriptor:
    """An embedding model, `local/hash`.

    Attributes:
        params: A field `timeout_ms` among them is set to the node's timeout where the graph gives one.
        facts: `(params) -> (revision, dimensions)` without loading any weights.
        open: Loads it.
    """

    name: str
    summary: str
    params: type[Params]
    facts: Callable[[Any], tuple[str, int]]
    open: Callable[[Any], EmbeddingModel]


Models = Callable[[str, Mapping[str, Any]], tuple[str, int]]
"""`(name, params) -> (name@revision, dimensions)`: what a compiler needs to know of a model."""
Descriptor = SourceDescriptor | SinkDescriptor | ActionDescriptor | ModelDescriptor
