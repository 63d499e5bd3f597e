"""What a supervisor and its stage processes tell each other: a JSON object a line, over stdin and stdout."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import orjson

Send = Callable[[bytes], None]
"""Tells the other side a line."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """The first line a stage process reads: everything it needs to know. Holds references to secrets, no secret.

    Attributes:
        graph: The graph as JSON text, `${…}` unresolved: the process resolves them from its own environment.
        file: Path of the graph file, or empty.
        folder: Where relative paths start.
        stage: Which stage of the plan to run.
        run: Id of the run.
        token: Fence token of the run's claim.
        log_url: `kafka://…`, or None for the embedded log.
        state: Folder of the embedded log, of caches and of what else the run keeps on this machine.
        follow: Go on after everything there was has been read.
        allow_mass_delete: Believe a listing in which most documents are gone.
        adopt: Go on with a log, or a topic, that is another one than the index and the positions are from.
        slot: Which copy of the stage this is, of `slots` on this host.
        leads: It is the one copy, of all hosts', that does what is done once.
        shared: Other hosts may have further copies.
        absences: How often the graph was run without the stage.
        renumbered: Versions of changes are not to be compared with those that collections hold.
        again: What of its input comes in again: a `rerunning.Again`, as JSON.
        config: The configuration that its seat has to have, as that of other hosts' copies; empty where any will do.
        hang_s: Seconds without anything moving after which the process is taken to hang.
        life: Which process of the stage this is in its run, from 1.
        died_of: What the one before died of, if it did not say itself why it ended.
        layout: The names that the plan has at the log and in stores: a `plan.generations.Layout`, as JSON.
    """

    graph: str
    file: str
    folder: str
    stage: str
    run: str
    token: int
    log_url: str | None
    state: str
    follow: bool = False
    allow_mass_delete: bool = False
    adopt: bool = False
    slot: int = 0
    slots: int = 1
    leads: bool = True
    shared: bool = False
    absences: int = 0
    renumbered: bool = False
    again: Mapping[str, Any] | None = None
    config: str = ""
    hang_s: float = 120.0
    life: int = 1
    died_of: str = ""
    layout: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """One line."""
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """The spec that `to_json` wrote."""
        return cls(**orjson.loads(line))


def line(kind: str, **fields: Any) -> bytes:
    """A message of this kind, as a line.

    To a stage: `go` {inc}, the incarnation of its changes at least; `drain` {ends: [[topic, partition, offset]],
    sweep: {source: epoch}}; `sweep` {sources: {source: epoch}}, everything that those passes confirmed has come in;
    `replay`, `drop` {letters: [[stage, record key as hex, entry]]}, these dead letters, those of them that are open;
    `stop`.
    From a stage: `ready` {config, behind}; `counters` {counters, in_flight, moving}, now and then;
    `waiting` {error, delay_s}; `moved`, once, when this process has brought something forward for good;
    `passed` {sources: {source: epoch}}, a full pass over them is in its topics; `log` {level, name, text};
    `failed` {error, exit_code, again}, `again` where it has only to be started again; `done` {read}, what it read to
    the end, [[topic, partition]].
    """
    return orjson.dumps({"kind": kind, **fields}) + b"\n"


def parse(raw: bytes) -> dict[str, Any]:
    """The message in a line."""
    message: dict[str, Any] = orjson.loads(raw)
    return message
