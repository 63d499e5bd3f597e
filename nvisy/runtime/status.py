"""How a graph is: what `nvisy status` shows, from the log alone, whether a run is live or not."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nvisy.plan.model import Plan, Stage
from nvisy.runtime.dead_letters import DeadLetter
from nvisy.runtime.generations import generations_of, open_letters
from nvisy.runtime.view import RunSaid, StageSaid, joined_views, last_view
from nvisy.topics.log import Holder, Log, LogRecord, Seat, TopicPartition

STALE_S = 15.0
MAX_DATED = 8
"""So many partitions, those furthest behind, are asked for the first record that waits in them."""


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A stage.

    Attributes:
        state: `idle` where no run is live, else what its process does, or `unknown`.
        lag: Records of its topics that are not through; None for a stage that reads no topic, or none that is there.
        lag_s: Age in seconds of the oldest of them, 0.0 where there is none.
        rate: Changes that got through it in a second; like the next two known only while a run is live.
        last_error: The last thing it waited for or died of in the last run, with `last_error_ms`, or empty.
    """

    id: str
    state: str
    lag: int | None
    lag_s: float | None
    rate: float | None
    in_flight: int | None
    waiting: str
    last_error: str
    last_error_ms: int


@dataclass(frozen=True, slots=True)
class LetterCount:
    """The open dead letters of a node, and the last of them."""

    count: int
    kind: str
    message: str
    failed_at_ms: int


@dataclass(frozen=True, slots=True)
class HostStatus:
    """A host that has joined the owner.

    Attributes:
        owner: What its run calls itself, `host:pid`.
        host: Its number among the hosts.
        stages: Ids of the stages that it has copies of.
    """

    owner: str
    host: int
    said_s_ago: float
    stages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GraphStatus:
    """A graph.

    Attributes:
        running: Somebody holds it: `owner`, `host:pid`, since `since_ms`.
        run_id: Of the live run, else of the last one, or empty.
        said_s_ago: How old the run's own account is, None where there is none; stale after 15 seconds.
        graph_changed: The run is, or was, of another version of the graph than this one.
        generation: The generation of its indexes that readers see.
        kept_generation: The one that they saw before, which is kept for a way back; 0 where there is none.
        rebuild: How far the generation is that is being made: `building`, `swapping`, `dropping`; empty where none is.
        error: What the last run failed of, or empty.
        hosts: Those that have joined the owner, and said something of late.
        dead_letters: The open ones, by node.
    """

    graph: str
    running: bool
    owner: str
    since_ms: int | None
    run_id: str
    said_s_ago: float | None
    graph_changed: bool
    generation: int
    kept_generation: int
    rebuild: str
    error: str
    hosts: tuple[HostStatus, ...]
    stages: tuple[StageStatus, ...]
    dead_letters: Mapping[str, LetterCount]

    @property
    def is_stale(self) -> bool:
        """A run is live, but has not said how it is for a while."""
        return self.running and (self.said_s_ago is None or self.said_s_ago > STALE_S)

    def as_json(self) -> dict[str, Any]:
        """What `nvisy status --json` prints."""
        return {**asdict(self), "stale": self.is_stale}


def status_of(log: Log, plan: Plan) -> GraphStatus:
    """How a graph is. Reads, and takes nothing from a run.

    Raises:
        Unreachable: The log does not answer.
    """
    holder, view = log.holder(plan.graph), last_view(log, plan.graph)
    generations = generations_of(log, plan.graph)
    is_its_own = holder is not None and view is not None and not view.ended and view.owner == holder.owner
    state = "unknown" if holder else "idle"
    others = joined_views(log, plan.graph, view) if view is not None and is_its_own else ()
    joined = [one for one in others if _s_ago(one) <= STALE_S]
    stages = (_stage(log, plan, stage, view, joined, state, is_live=is_its_own) for stage in plan.stages)
    return GraphStatus(
        graph=plan.graph,
        running=holder is not None,
        owner=holder.owner if holder else "",
        since_ms=_since_ms(holder, view) if holder else None,
        run_id=view.run_id if view and (is_its_own or not holder) else "",
        said_s_ago=_s_ago(view) if view and is_its_own else None,
        graph_changed=view is not None and view.graph_hash != plan.hash,
        generation=generations.current,
        kept_generation=generations.kept,
        rebuild=generations.phase,
        error=view.error if view and not holder else "",
        hosts=tuple(HostStatus(one.owner, one.host, _s_ago(one), tuple(one.stages)) for one in joined),
        stages=tuple(stages),
        dead_letters=by_node(open_letters(log, plan.graph)),
    )


def _s_ago(view: RunSaid) -> float:
    return round(time.time() - view.at_ms / 1000, 1)


def by_node(letters: Iterable[DeadLetter]) -> Mapping[str, LetterCount]:
    """Letters counted by node, with the last of each. They come oldest first."""
    counts: dict[str, LetterCount] = {}
    for letter in letters:
        count = counts[letter.node].count + 1 if letter.node in counts else 1
        counts[letter.node] = LetterCount(count, letter.kind, letter.message, letter.failed_at_ms)
    return dict(sorted(counts.items()))


def _stage(
    log: Log,
    plan: Plan,
    stage: Stage,
    view: RunSaid | None,
    joined: Sequence[RunSaid],
    state: str,
    *,
    is_live: bool,
) -> StageStatus:
    said = view.stages.get(stage.id, StageSaid("")) if view else StageSaid("")
    everywhere = [said, *(one.stages[stage.id] for one in joined if stage.id in one.stages)]
    failed = max(everywhere, key=lambda one: one.last_error_ms)
    lag, lag_s = _lag(log, Seat(plan.graph, stage.id, said.config, stage.inputs, stage.outputs))
    return StageStatus(
        id=stage.id,
        state=(said.status or state) if is_live else state,
        lag=lag,
        lag_s=lag_s,
        rate=said.rate if is_live else None,
        in_flight=sum(one.in_flight for one in everywhere) if is_live else None,
        waiting=next((one.waiting for one in everywhere if one.waiting), "") if is_live else "",
        last_error=failed.last_error,
        last_error_ms=failed.last_error_ms,
    )


def _lag(log: Log, seat: Seat) -> tuple[int | None, float | None]:
    """Records that wait, and the age of the oldest; None where a topic is not there, or the stage reads none."""
    infos = [log.describe(topic) for topic in seat.inputs]
    if not infos or any(info is None for info in infos):
        return None, None
    lags = {at: (end - low, low) for at, (low, end) in log.lag(seat).items() if low < end}
    furthest = sorted(lags, key=lambda at: lags[at], reverse=True)[:MAX_DATED]
    times_ms: list[int] = []
    for at in furthest:
        record = _first(log, at, lags[at][1])
        if record is None:
            del lags[at]  # what Kafka counts there is the end of a transaction, and no record
        else:
            times_ms.append(record.timestamp_ms)
    age_s = round(max(0.0, time.time() - min(times_ms) / 1000), 1) if times_ms else 0.0
    return sum(count for count, _ in lags.values()), age_s


def _first(log: Log, at: TopicPartition, offset: int) -> LogRecord | None:
    info = log.describe(at.topic)
    if info is None:
        return None
    return next(iter(log.scan(at.topic, {**info.end, at.partition: offset})), None)


def _since_ms(holder: Holder, view: RunSaid | None) -> int | None:
    if holder.since_ms is None and view is not None and view.owner == holder.owner:
        return view.started_ms
    return holder.since_ms
