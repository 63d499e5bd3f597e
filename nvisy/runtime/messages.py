"""What a supervisor and its stage processes tell each other: a JSON object a line, over stdin and stdout."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import orjson


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

    def to_json(self) -> bytes:
        """One line."""
        return orjson.dumps(asdict(self)) + b"\n"

    @classmethod
    def from_json(cls, line: bytes) -> Self:
        """The spec that `to_json` wrote."""
        return cls(**orjson.loads(line))


def line(kind: str, **fields: Any) -> bytes:
    """A message of this kind, as a line.

    To a stage: `go`; `drain` {ends: [[topic, partition, offset]]}; `stop`.
    From a stage: `ready` {config}; `counters` {counters, in_flight}; `waiting` {error, delay_s};
    `log` {level, name, text}; `failed` {error, exit_code}; `done`.
    """
    return orjson.dumps({"kind": kind, **fields}) + b"\n"


def parse(raw: bytes) -> dict[str, Any]:
    """The message in a line."""
    message: dict[str, Any] = orjson.loads(raw)
    return message
