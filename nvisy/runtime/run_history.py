"""What became of each run of a graph: events in the topic `<graph>.runs`, for people and for other programs.

An event is a JSON object under a key of its own, `<run>/<number>`. Whoever owns a graph, or has joined its owner,
appends them in the commits in which it says how the run is. So they cost nothing, survive whoever wrote them, and stand
in the order in which they happened. They name nodes, stages and counts, and no document.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from nvisy.runtime.counters import StageCounters
from nvisy.runtime.view import RunSaid, StageSaid, joined_views, last_view
from nvisy.topics.log import Append, Log, LogRecord

FORMAT = 1
KEPT_DAYS = 90
KEPT_EVENTS = 20_000
"""In an embedded log; a broker keeps 64 MiB."""
PROGRESS_S = 600.0
DEGRADED = 4
"""The exit code of a run that leaves dead letters."""


def runs_topic(graph: str) -> str:
    """The topic of a graph's events."""
    return f"{graph}.runs"


def make_runs_topic(log: Log, graph: str) -> None:
    """Create it, or verify the one that is there.

    Raises:
        Refused: It is not there, and may not be made.
        Unreachable: The log does not answer.
    """
    log.create(runs_topic(graph), 1, kept_days=KEPT_DAYS)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, as far as it knows by itself.

    Attributes:
        state: `completed`, `cancelled` or `failed`.
        error: What it failed of, without secrets.
        counters: What its stages counted.
    """

    state: str
    exit_code: int
    error: str
    counters: StageCounters


class RunHistory:
    """The events of one run, until they are committed. Used by the thread that says how the run is."""

    def __init__(self, graph: str, run: str) -> None:
        self._graph = graph
        self._run = run
        self._number = 0
        self._errors: dict[str, int] = {}
        self._progress_at = time.monotonic()
        self._counted: dict[str, Any] = {}
        self._due: list[Append] = []

    @property
    def due(self) -> Sequence[Append]:
        """What the next commit has to bring."""
        return tuple(self._due)

    def committed(self, records: Sequence[Append]) -> None:
        """It brought these."""
        self._due = self._due[len(records) :]

    def began(self, said: RunSaid, stages: Collection[str] | None, *, joined: bool) -> None:
        """The run holds the graph, or a share in it; `stages`: those that it runs, where it is not all of them."""
        fields = {"owner": said.owner, "graph_hash": said.graph_hash, "follow": said.follow, "joined": joined}
        self._note("run.began", said.started_ms, **fields, stages=None if stages is None else sorted(stages))

    def saw(self, stages: Mapping[str, StageSaid], counters: Callable[[], StageCounters]) -> None:
        """How the stages are now: what one failed of, or waits for, is an event, and so are now and then the counts."""
        for stage, said in stages.items():
            if said.last_error_ms > self._errors.get(stage, 0):
                self._errors[stage] = said.last_error_ms
                self._note(
                    "stage.troubled", said.last_error_ms, stage=stage, error=said.last_error, lives=said.lives
                )
        if time.monotonic() - self._progress_at >= PROGRESS_S:
            self._progress_at = time.monotonic()
            if (counted := counters().as_json()) != self._counted:
                self._counted = counted
                self._note("run.progressed", _now_ms(), counters=counted)

    def ended(self, end: Ending, letters: Mapping[str, int]) -> None:
        """The run gave up the graph. `letters`: the dead letters that are open, by node."""
        state = "degraded" if end.state == "completed" and letters else end.state
        exit_code = DEGRADED if state == "degraded" else end.exit_code
        self._note(
            "run.ended",
            _now_ms(),
            state=state,
            exit_code=exit_code,
            error=end.error,
            counters=end.counters.as_json(),
            dead_letters=letters,
        )

    def _note(self, event: str, at_ms: int, **fields: Any) -> None:
        value = {"format": FORMAT, "event": event, "run": self._run, "at_ms": at_ms, **fields}
        key = f"{self._run}/{self._number}".encode()
        self._number += 1
        self._due.append(Append(runs_topic(self._graph), 0, key, orjson.dumps(value)))


@dataclass(slots=True)
class Trouble:
    """What a stage failed of, or waited for, in a run.

    Attributes:
        lives: How often its processes had been started by then.
    """

    stage: str
    at_ms: int
    error: str
    lives: int


@dataclass(slots=True)
class RunRecord:
    """What is known of a run.

    Attributes:
        owner: `host:pid`.
        graph_hash: Of the graph that it ran.
        joined: Another host owned the graph.
        stages: Those that it ran, where it was a part of the graph.
        state: `running`; `completed`, or `degraded` where dead letters remained; `cancelled`; `failed`; `lost` where it
            ended without a word.
        exit_code: Of `nvisy run`; None while it runs, and where it was lost.
        error: What it failed of.
        nodes: Counters by node, as in the report of a run.
        model_calls: Texts that a model had to embed, and `cache_hits` those that the cache had.
        tokens: What the models counted, and `cost_usd` what they cost; None where they did not say.
        dead_letters: By node, those that were open when it ended.
        troubles: In their order.
    """

    id: str
    owner: str = ""
    graph_hash: str = ""
    follow: bool = False
    joined: bool = False
    stages: tuple[str, ...] | None = None
    started_ms: int = 0
    ended_ms: int | None = None
    state: str = "lost"
    exit_code: int | None = None
    error: str = ""
    nodes: dict[str, dict[str, int]] = field(default_factory=dict)
    written: int = 0
    removed: int = 0
    unchanged: int = 0
    model_calls: int = 0
    cache_hits: int = 0
    tokens: int | None = None
    cost_usd: float | None = None
    dead_letters: dict[str, int] | None = None
    troubles: list[Trouble] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What `nvisy runs --json` prints."""
        return asdict(self)


def runs_of(log: Log, graph: str, live: Collection[str] | None = None) -> list[RunRecord]:
    """The runs of a graph that are remembered, the newest first. `live`: ids of those that go on; else it is asked.

    Raises:
        Unreachable: The log does not answer.
    """
    if log.describe(runs_topic(graph)) is None:
        return []
    latest = {record.key: record for record in log.scan(runs_topic(graph)) if record.value is not None}
    runs: dict[str, _Reading] = {}
    for event in sorted(
        (event_of(record) for record in latest.values()), key=lambda one: one.get("at_ms", 0)
    ):
        if event.get("format") == FORMAT:
            runs.setdefault(event["run"], _Reading(RunRecord(event["run"]))).take(event)
    if live is None:
        live = _live(log, graph) if any(one.is_open for one in runs.values()) else set()
    return sorted((one.record(live) for one in runs.values()), key=lambda one: -one.started_ms)


def event_of(record: LogRecord) -> dict[str, Any]:
    """The event in a record of the topic."""
    event: dict[str, Any] = orjson.loads(record.value or b"{}")
    return event


def without_words(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event whose words, which might quote somebody, are taken out."""
    return {**event, "error": "removed by `nvisy forget`"}


class _Reading:
    """Puts a run together from its events. One that had to give the graph up, and got it again, has several of each."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._done = StageCounters()
        self._under_way = StageCounters()
        self.is_open = False

    def take(self, event: Mapping[str, Any]) -> None:
        """The next event."""
        record = self._record
        match event["event"]:
            case "run.began":
                self.is_open = True
                record.started_ms = record.started_ms or event["at_ms"]
                record.owner, record.graph_hash = event["owner"], event["graph_hash"]
                record.follow, record.joined = event["follow"], event["joined"]
                record.stages = tuple(event["stages"]) if event["stages"] is not None else None
            case "stage.troubled":
                record.troubles.append(
                    Trouble(event["stage"], event["at_ms"], event["error"], event["lives"])
                )
            case "run.progressed":
                self._under_way = StageCounters.from_json(event["counters"])
            case "run.ended":
                self.is_open = False
                self._done.add(StageCounters.from_json(event["counters"]))
                self._under_way = StageCounters()
                record.started_ms = record.started_ms or event["at_ms"]
                record.ended_ms, record.state = event["at_ms"], event["state"]
                record.exit_code, record.error = event["exit_code"], event["error"]
                record.dead_letters = event["dead_letters"]

    def record(self, live: Collection[str]) -> RunRecord:
        """The run, given the ids of those that are live."""
        record, counters = self._record, self._done
        counters.add(self._under_way)
        if self.is_open:
            record.state = "running" if record.id in live else "lost"
            record.ended_ms, record.exit_code, record.error = None, None, ""
        record.nodes = {name: counts.as_json() for name, counts in counters.nodes.items()}
        record.written, record.removed, record.unchanged = (
            counters.written,
            counters.removed,
            counters.unchanged,
        )
        record.model_calls, record.cache_hits = counters.model_calls, counters.cache_hits
        record.tokens, record.cost_usd = counters.tokens or None, counters.cost_usd or None
        return record


def _live(log: Log, graph: str) -> set[str]:
    """Ids of the runs that hold the graph now, or have a share in it."""
    view = last_view(log, graph)
    if view is None or view.ended or log.holder(graph) is None:
        return set()
    return {view.run_id, *(one.run_id for one in joined_views(log, graph, view))}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
