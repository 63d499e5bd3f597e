"""The unit that flows: what one version of one source key turned into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance

Op = Literal["upsert", "delete"]


@dataclass(frozen=True, slots=True)
class Change:
    """One version of one source key, as a whole.

    Attributes:
        origin: Source, key, version, uri, run: shared by reference with every item.
        op: `delete` means that the source no longer has the key; `items` is then empty.
        items: What this version consists of at this point of the graph. An upsert may be empty too: a filter
            let nothing through, so whatever an earlier version left behind must go.
        fingerprint: What the source compares to see whether the key changed; empty where it does not.
        graph: Hash of the graph that made the change.
        trace: W3C `traceparent`, or empty.
    """

    origin: Provenance
    op: Op = "upsert"
    items: tuple[Primitive, ...] = ()
    fingerprint: bytes = b""
    graph: str = ""
    trace: str = ""

    @property
    def message_key(self) -> bytes:
        """Key of the record in a topic: `<source node>/<key>`; a node id holds no slash."""
        return f"{self.origin.source}/{self.origin.key}".encode()

    def with_items(self, items: tuple[Primitive, ...]) -> Change:
        """The same change with other items."""
        return Change(self.origin, self.op, items, self.fingerprint, self.graph, self.trace)
