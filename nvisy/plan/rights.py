"""The rights that a graph needs on a Kafka cluster: what `nvisy explain --acls` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Plan


@dataclass(frozen=True, slots=True)
class Right:
    """An entry of an access list.

    Attributes:
        resource: What kind of thing.
        name: Its name, or what names start with.
        pattern: `prefixed` where `name` is what names start with.
        operations: As Kafka calls them.
        why: What for.
    """

    resource: Literal["topic", "group", "transactional-id"]
    name: str
    pattern: Literal["literal", "prefixed"]
    operations: tuple[str, ...]
    why: str

    def command(self) -> str:
        """The arguments that give it with Kafka's own tool, `kafka-acls.sh --add --allow-principal …`."""
        operations = " ".join(f"--operation {operation}" for operation in self.operations)
        return f"--{self.resource} {self.name} --resource-pattern-type {self.pattern} {operations}"


def rights(checked: CheckedGraph, plan: Plan) -> tuple[Right, ...]:
    """Everything that running the graph on Kafka asks for, and nothing more."""
    own = [topic.name for topic in plan.topics]
    return (
        *(_own(topic, "keeps changes between stages") for topic in own),
        _own(f"{plan.graph}.dlq", "dead letters"),
        _own(f"{plan.graph}.state", "what stages remember, and who runs the graph"),
        _own(f"{plan.graph}.runs", "what became of each run"),
        _own(f"{plan.graph}.requests", "what commands ask a run to do about dead letters"),
        *(right for right in _foreign(checked, plan) if right.name not in own),
        Right("group", f"nvisy.{plan.graph}.", "prefixed", ("Read", "Describe"), "positions of the stages"),
        Right("group", "nvisy.scan", "literal", ("Read", "Describe"), "reading topics outside of any stage"),
        Right(
            "transactional-id", f"nvisy.{plan.graph}.", "prefixed", ("Write", "Describe"), "fenced writing"
        ),
    )


def _own(topic: str, why: str) -> Right:
    operations = ("Create", "Describe", "DescribeConfigs", "Read", "Write")
    return Right("topic", topic, "literal", operations, f"{why}; Create only until it is there")


def _foreign(checked: CheckedGraph, plan: Plan) -> Iterator[Right]:
    read = [inlet.name for stage in plan.stages for inlet in stage.inlets if inlet.kind == "foreign"]
    for topic in dict.fromkeys(read):
        yield Right("topic", topic, "literal", ("Describe", "Read"), "a source that other programs fill")
    for node_id, node in checked.nodes.items():
        if isinstance(node.descriptor, SinkDescriptor) and node.descriptor.topic is not None:
            topic = checked.topic(node_id)
            operations = ("Describe", "DescribeConfigs", "Write")
            yield Right("topic", topic, "literal", operations, "a sink for other programs")
