"""A graph as it is written: nodes, edges and connections, frozen, the same from JSON and from Python.

Names are camelCase in JSON and snake_case here. Expressions and `${…}` references stay the text that they
are; what they mean is for `validate` to find out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from nvisy.graph.origin import Origin

if TYPE_CHECKING:
    from nvisy.graph.builder import GraphBuilder

_ID = r"^[A-Za-z0-9_-]{1,64}$"
Id = Annotated[str, StringConstraints(pattern=_ID)]
TopicName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,239}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Params = Mapping[str, JsonValue]


class Part(BaseModel):
    """Base of everything in a graph: frozen, and a field that nobody knows is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class Log(Part):
    """How the graph's topics are made."""

    partitions: int = Field(
        4, ge=1, le=1024, strict=True, description="Partitions of each of the graph's topics."
    )


class Retry(Part):
    """How often and how patiently a call that failed for the moment is made again."""

    max_retries: int = Field(3, ge=0, strict=True, description="Tries after the first one.")
    backoff: Literal["exponential", "fixed", "jitter"] = Field(
        "exponential", description="How the delay grows."
    )
    initial_delay_ms: int = Field(1000, ge=0, strict=True, description="Delay before the first retry.")
    max_delay_ms: int = Field(30000, ge=0, strict=True, description="Longest delay.")


class Timeout(Part):
    """How long a call may take."""

    node_timeout_ms: int | None = Field(
        None,
        ge=1,
        strict=True,
        description="Longest time for one call of the action; the document goes to the dead letters, and a call to "
        "a model behind an API is repeated.",
    )


class Concurrency(Part):
    """How many calls run side by side."""

    max_per_node: int | None = Field(
        None,
        ge=1,
        strict=True,
        description="Calls of the action in flight, at most; what computes on this machine has one.",
    )


class Connection(Part):
    """Address and credentials that nodes share by naming the connection."""

    provider: Name = Field(description="Whose parameters these are: `vector/qdrant`, `openai`.")
    params: Params = Field(
        default_factory=dict, description="Parameters that the naming nodes need not repeat."
    )
    limits: Params = Field(default_factory=dict, description="Rate limits that its users share.")


class _Working(Part):
    id: Id = Field(description="Unique in the graph.")
    params: Params = Field(default_factory=dict, description="Parameters of the provider or action.")
    connection: Id | None = Field(None, description="Name of an entry of `connections`.")
    retry: Retry = Field(default_factory=Retry)
    timeout: Timeout = Field(default_factory=Timeout)
    concurrency: Concurrency = Field(default_factory=Concurrency)

    @property
    def options(self) -> tuple[str, ...]:
        """Which of `retry`, `timeout` and `concurrency` the graph gives."""
        return tuple(name for name in ("retry", "timeout", "concurrency") if name in self.model_fields_set)


class SourceNode(_Working):
    """Where documents come from."""

    type: Literal["source"] = "source"
    provider: Name = Field(description="A connector, `object/files`.")


class ActionNode(_Working):
    """What is done to them."""

    type: Literal["action"] = "action"
    action: Name = Field(description="An action, `chunk`.")


class SinkNode(_Working):
    """Where they are kept. `"type": "target"`, and an action named `load`, are read as this."""

    type: Literal["sink"] = "sink"
    provider: Name = Field(description="A connector, `vector/sqlite`.")


class Route(Part):
    """One way out of a branch."""

    port: Id = Field(description="Name of the way out.")
    when: str = Field(
        min_length=1, description="Expression; the first route whose expression is true is taken."
    )


class Routes(Part):
    """Parameters of a branch."""

    routes: tuple[Route, ...] = Field(min_length=1, description="Ways out, tried in this order.")
    default: Id | None = Field(None, description="Port for what no route takes. Without one it goes nowhere.")

    @property
    def ports(self) -> tuple[str, ...]:
        """Names of all ways out."""
        named = [route.port for route in self.routes]
        return tuple(dict.fromkeys([*named, self.default] if self.default else named))


class BranchNode(Part):
    """Sends each primitive one way."""

    id: Id = Field(description="Unique in the graph.")
    type: Literal["branch"] = "branch"
    params: Routes


class FanOutNode(Part):
    """Sends everything every way."""

    id: Id = Field(description="Unique in the graph.")
    type: Literal["fanout"] = "fanout"


class FanInNode(Part):
    """Brings ways together again."""

    id: Id = Field(description="Unique in the graph.")
    type: Literal["fanin"] = "fanin"


Node = Annotated[
    SourceNode | ActionNode | SinkNode | BranchNode | FanOutNode | FanInNode, Field(discriminator="type")
]
NODE_KINDS: Mapping[str, type[Part]] = {
    "source": SourceNode,
    "action": ActionNode,
    "sink": SinkNode,
    "branch": BranchNode,
    "fanout": FanOutNode,
    "fanin": FanInNode,
}


class Edge(Part):
    """What one node gives, another takes."""

    from_: Id = Field(alias="from", description="Id of the node that gives.")
    to: Id = Field(description="Id of the node that takes.")
    port: Id | None = Field(None, description="Which way out of a branch.")
    topic: TopicName | Literal[False] | None = Field(
        None,
        description="A name keeps what passes in that topic; false removes a topic made by default.",
    )


class Graph(Part):
    """A dataflow. `Graph.load` reads one from a file, `Graph.build` starts one in Python.

    Attributes:
        id: Names the graph's topics and what it owns in a store; its `name` unless it is given.
    """

    schema_: str | None = Field(
        None, alias="$schema", description="Where an editor finds the schema of this file."
    )
    id: Id = Field(
        "", description="Names the graph's topics and collections' owner; `name` unless it is given."
    )
    name: Name = Field("", description="What people call the graph; `id` unless it is given.")
    description: str = ""
    log: Log = Field(default_factory=Log)
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    connections: Mapping[Id, Connection] = Field(default_factory=dict)
    metadata: Mapping[str, JsonValue] = Field(default_factory=dict, description="Yours; it has no effect.")

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @field_validator("name")
    @classmethod
    def _is_an_id(cls, name: str, info: ValidationInfo) -> str:
        if info.data.get("id") == "" and not re.fullmatch(_ID, name):
            raise ValueError(
                'the name is the id too, and an id is 1 to 64 of A-Z a-z 0-9 _ -; give the graph an "id"'
            )
        return name

    @model_validator(mode="after")
    def _named(self) -> Self:
        """Fill in `id` or `name`, which counts as unset and so is not written out."""
        if not self.id and not self.name:
            raise ValueError('"name" is missing')
        self.__dict__.update(id=self.id or self.name, name=self.name or self.id)
        return self

    @field_serializer("nodes")
    def _typed(self, nodes: tuple[Any, ...]) -> list[dict[str, Any]]:
        """A node's `type` is written even where it was left to its class."""
        return [
            {"id": node.id, "type": node.type} | node.model_dump(by_alias=True, exclude_unset=True)
            for node in nodes
        ]

    @classmethod
    def load(cls, path: str | Path) -> Graph:
        """Read a graph file.

        Raises:
            GraphError: It is not a graph; everything that is wrong with its structure.
            UsageError: There is no such file, or it cannot be read.
        """
        from nvisy.graph.parse import load  # noqa: PLC0415 - it makes graphs

        return load(path)

    @classmethod
    def build(cls, name: str, **fields: Any) -> GraphBuilder:
        """Start a graph in Python, with other fields of a graph as keyword arguments."""
        from nvisy.graph.builder import GraphBuilder  # noqa: PLC0415 - it makes graphs

        return GraphBuilder(name, **fields)

    @property
    def origin(self) -> Origin:
        """Where it was read."""
        return self._origin

    def at(self, origin: Origin) -> Graph:
        """The same graph, read from `origin`."""
        placed = self.model_copy()
        placed._origin = origin
        return placed

    def node(self, node_id: str) -> Node:
        """The node of this id, or KeyError."""
        return {node.id: node for node in self.nodes}[node_id]

    def value(self) -> dict[str, Any]:
        """The graph as JSON values, as it was written: what was left to its default stays out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)

    def to_json(self) -> str:
        """The graph as a JSON text, ready to be saved."""
        return json.dumps(self.value(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def __eq__(self, other: object) -> bool:
        """Equal when every field is, wherever the graphs were read."""
        return isinstance(other, Graph) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment] # parameters are mappings
