"""How a run is, as it says so itself: a value that its owner commits about once a second, for others to read.

It stands in the log as the state `view` of a seat `/owner` that belongs to no stage: in `control.db` of the embedded
log, in `<graph>.state` on Kafka. It goes stale when the owner dies; `at_ms` says how old it is, and the claim who is
alive. Hosts that have joined the owner do the same, as `view/<host>`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import orjson

from nvisy.runtime.stage_process import StageView
from nvisy.topics.log import Log, Seat, TopicPartition

FORMAT = 1
RATE_S = 10.0
_VIEW = "view"

_Done = Mapping[str | TopicPartition, int]


@dataclass(frozen=True, slots=True)
class StageSaid:
    """A stage, as its run saw it last.

    Attributes:
        config: Of its seat at the log.
        in_flight: Changes read and not through yet.
        rate: Changes that got through it in a second, over the last ten.
        waiting: What it waits for, or empty.
        lives: How often it was started.
        last_error: The last thing it waited for or died of in this run, and when (0: never).
    """

    status: str
    config: str = ""
    in_flight: int = 0
    rate: float = 0.0
    waiting: str = ""
    lives: int = 1
    last_error: str = ""
    last_error_ms: int = 0


@dataclass(frozen=True, slots=True)
class RunSaid:
    """A run, as its owner saw it last; or the part of it that another host has.

    Attributes:
        owner: `host:pid`.
        graph_hash: Of the graph it runs.
        at_ms: When this was said.
        ended: It is over; `error` says of what, where it failed.
        stages: By id.
        token: Of the claim. Those who have the same one run the graph together.
        host: Which of these hosts this is.
    """

    run_id: str
    owner: str
    graph_hash: str
    follow: bool
    started_ms: int
    at_ms: int
    stages: Mapping[str, StageSaid] = field(default_factory=dict)
    ended: bool = False
    error: str = ""
    token: int = 0
    host: int = 0

    def to_json(self) -> bytes:
        """The value that is committed."""
        return orjson.dumps({"format": FORMAT, **asdict(self)})

    @classmethod
    def from_json(cls, value: bytes) -> Self | None:
        """The view in a value; nothing where another version of Nvisy wrote it, in a form of its own."""
        said: dict[str, Any] = orjson.loads(value)
        if said.pop("format", None) != FORMAT:
            return None
        stages = {name: StageSaid(**stage) for name, stage in said.pop("stages").items()}
        return cls(**said, stages=stages)


def owners_seat(graph: str) -> Seat:
    """The seat through which the owner of a graph writes what belongs to no stage. It fences former owners."""
    return Seat(graph, "/owner", "", (), ())


def hosts_seat(graph: str, host: int) -> Seat:
    """The seat beside it of a host that has joined the owner."""
    return replace(owners_seat(graph), slot=host)


def as_state(view: RunSaid, *, is_owner: bool = True) -> Mapping[str, bytes]:
    """The state to commit."""
    return {_VIEW if is_owner else f"{_VIEW}/{view.host}": view.to_json()}


def last_view(log: Log, graph: str) -> RunSaid | None:
    """What a graph's owner said last, if it ever did."""
    value = log.state(owners_seat(graph)).get(_VIEW)
    return RunSaid.from_json(value) if value is not None else None


def joined_views(log: Log, graph: str, owner: RunSaid) -> Sequence[RunSaid]:
    """What the hosts that have joined this owner said last, unless they left."""
    values = log.state(owners_seat(graph))
    said = (
        RunSaid.from_json(value) for name, value in sorted(values.items()) if name.startswith(f"{_VIEW}/")
    )
    return [view for view in said if view is not None and view.token == owner.token and not view.ended]


class Observer:
    """Makes views of stages out of what the supervisor knows, and remembers what only time shows."""

    def __init__(self) -> None:
        self._done: dict[str, deque[tuple[float, _Done]]] = {}
        self._errors: dict[str, tuple[str, int]] = {}

    def see(self, views: Mapping[str, StageView]) -> Mapping[str, StageSaid]:
        """The stages now, by id; copies of a stage are counted together."""
        together: dict[str, list[StageView]] = {}
        for view in views.values():
            together.setdefault(view.stage.id, []).append(view)
        return {stage: self._said(stage, copies) for stage, copies in together.items()}

    def _said(self, stage: str, copies: list[StageView]) -> StageSaid:
        waiting = next((view.waiting for view in copies if view.waiting), "")
        error = waiting or next((view.error for view in copies if view.error), "")
        if error and self._errors.get(stage, ("", 0))[0] != error:
            self._errors[stage] = (error, time.time_ns() // 1_000_000)
        last_error, last_error_ms = self._errors.get(stage, ("", 0))
        return StageSaid(
            status=copies[0].status,
            config=next((view.seat.config for view in copies if view.seat), ""),
            in_flight=sum(view.in_flight for view in copies),
            rate=self._rate(stage, _done(copies)),
            waiting=waiting,
            lives=sum(view.lives for view in copies),
            last_error=last_error,
            last_error_ms=last_error_ms,
        )

    def _rate(self, stage: str, done: _Done) -> float:
        now = time.monotonic()
        seen = self._done.setdefault(stage, deque())
        if seen and seen[0][1].keys() != done.keys():
            seen.clear()  # where a stage stands is heard a while after its start; until then nothing got through
        seen.append((now, done))
        while now - seen[0][0] > RATE_S:
            seen.popleft()
        first, before = seen[0]
        n_done = sum(done.values()) - sum(before.values())
        return round(max(0, n_done) / (now - first), 1) if now > first else 0.0


def _done(copies: Sequence[StageView]) -> _Done:
    """Changes that got through a stage: what its source gave, else how far its topics are read, by partition."""
    stage = copies[0].stage
    if stage.source:
        return {stage.source: sum(view.counters.node(stage.source).emitted for view in copies)}
    read: dict[str | TopicPartition, int] = {}
    for view in copies:  # each knows how far all of them are
        for at, offset in view.committed.items():
            read[at] = max(offset, read.get(at, 0))
    return read
