"""Documents that were forgotten: a mark for each, which the stage behind its source honours for as long as it stands.

Whoever asks that a document goes may not be able to remove it at its source, nor see to it that it does not come back
there. So what the source says of a marked key counts as if it were gone: it is not read, or is a delete.

A mark is state of the seat `/owner`, as what a run says of itself is: every host that runs the graph reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from nvisy.runtime.view import owners_seat
from nvisy.topics.log import Log

_MARK = "forgotten/"


@dataclass(frozen=True, slots=True)
class Mark:
    """A document that is to stay away.

    Attributes:
        source: The source node.
        key: What the source calls the document.
        at_ms: Since when, UTC.
    """

    source: str
    key: str
    at_ms: int

    def as_json(self) -> dict[str, Any]:
        """What `nvisy forget --list --json` prints of it."""
        return {"source": self.source, "key": self.key, "at_ms": self.at_ms}


def marks_of(log: Log, graph: str) -> Sequence[Mark]:
    """The marks of a graph, by source and key."""
    found = sorted(log.state(owners_seat(graph)).items())
    return [_mark(name, value) for name, value in found if name.startswith(_MARK)]


def forgotten_keys(log: Log, graph: str, nodes: Collection[str]) -> Mapping[str, frozenset[str]]:
    """By node of a graph, the keys whose documents are to stay away.

    A mark of a node that the graph no longer has counts for every other: it may only have got another name.
    """
    marks = marks_of(log, graph)
    return {
        node: frozenset(mark.key for mark in marks if mark.source == node or mark.source not in nodes)
        for node in (nodes if marks else ())
    }


def put_mark(log: Log, graph: str, mark: Mark) -> None:
    """From the next start of a stage on, the document stays away. The caller holds the claim of the graph."""
    _commit(log, graph, mark, orjson.dumps({"at_ms": mark.at_ms}))


def lift_mark(log: Log, graph: str, mark: Mark) -> None:
    """It may come again. The caller holds the claim of the graph."""
    _commit(log, graph, mark, None)


def _commit(log: Log, graph: str, mark: Mark, value: bytes | None) -> None:
    session = log.session(owners_seat(graph))
    try:
        session.commit({}, {f"{_MARK}{mark.source}/{mark.key}": value})
    finally:
        session.close()


def _mark(name: str, value: bytes) -> Mark:
    source, _, key = name.removeprefix(_MARK).partition("/")
    return Mark(source, key, orjson.loads(value)["at_ms"])
