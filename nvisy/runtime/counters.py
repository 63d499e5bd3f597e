"""What a stage counts while it works, and what a run reports in the end."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["completed", "degraded", "failed", "cancelled"]


@dataclass(slots=True)
class NodeCounters:
    """Primitives into and out of a node, those it let nothing through for, and changes it refused."""

    received: int = 0
    emitted: int = 0
    filtered: int = 0
    failed: int = 0

    def add(self, other: NodeCounters) -> None:
        """Count `other` in."""
        self.received += other.received
        self.emitted += other.emitted
        self.filtered += other.filtered
        self.failed += other.failed

    def as_json(self) -> dict[str, int]:
        """The names that reports use."""
        return {"in": self.received, "out": self.emitted, "filtered": self.filtered, "failed": self.failed}


@dataclass(slots=True)
class StageCounters:
    """Everything one life of a stage process counts, and when it read its first record and acknowledged its last.

    Attributes:
        first_read_at_us: Microseconds, UTC; 0 as long as nothing was read.
        last_ack_at_us: When the last change was committed, or a full pass over the sources; 0 before.
    """

    nodes: dict[str, NodeCounters] = field(default_factory=dict)
    written: int = 0
    removed: int = 0
    unchanged: int = 0
    superseded: int = 0
    model_calls: int = 0
    cache_hits: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    first_read_at_us: int = 0
    last_ack_at_us: int = 0

    def node(self, node: str) -> NodeCounters:
        """The counters of one node."""
        return self.nodes.setdefault(node, NodeCounters())

    def as_json(self) -> dict[str, Any]:
        """A message to the supervisor."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StageCounters:
        """The counters that `as_json` wrote down."""
        nodes = {name: NodeCounters(**counts) for name, counts in value["nodes"].items()}
        return cls(**{**value, "nodes": nodes})

    def add(self, other: StageCounters) -> None:
        """Count another life, or another stage, in."""
        for name, counts in other.nodes.items():
            self.node(name).add(counts)
        for name in (
            "written",
            "removed",
            "unchanged",
            "superseded",
            "model_calls",
            "cache_hits",
            "tokens",
            "cost_usd",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        read_at = [at for at in (self.first_read_at_us, other.first_read_at_us) if at]
        self.first_read_at_us = min(read_at, default=0)
        self.last_ack_at_us = max(self.last_ack_at_us, other.last_ack_at_us)


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended.

    Attributes:
        state: `degraded`, never `completed`, while dead letters remain.
        written: Vectors upserted.
        removed: Records taken out of the sinks.
        unchanged: Records that were left, or whose place or metadata alone was rewritten.
        model_calls: Texts that a model had to embed; those served from the cache are not among them.
        dead_letters: Open ones, of this run and of earlier ones.
        first_read_at_us: When the first record was read, microseconds, UTC; None if none was.
        last_ack_at_us: When the last one was acknowledged, or all that the sources hold had been passed over.
    """

    run_id: str
    graph: str
    state: State
    nodes: dict[str, dict[str, int]]
    dead_letters: int
    written: int
    removed: int
    unchanged: int
    model_calls: int
    duration_s: float
    first_read_at_us: int | None = None
    last_ack_at_us: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What `nvisy run --json` prints last."""
        return asdict(self)
