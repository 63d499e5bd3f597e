"""How a run is getting on: a live table on a terminal, a line of JSON every ten seconds elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from nvisy.cli.failure import cleaned
from nvisy.cli.output import one_line
from nvisy.plan.model import Plan, Stage
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.stage_process import StageView

DRAW_S = 0.25
LINE_S = 10.0
_RATE_S = 2.0

_log = logging.getLogger("nvisy.run")


@dataclass(frozen=True, slots=True)
class NodeProgress:
    """A line of the table. `rate` is in primitives per second, `lag` in records, None where nobody knows."""

    node: str
    received: int
    emitted: int
    failed: int
    rate: float
    lag: int | None
    status: str


@dataclass
class Progress:
    """Watches a run: `watch` is called a few times a second, and shows now and then what it saw."""

    every_s: float = LINE_S
    plan: Plan | None = None
    views: Mapping[str, StageView] = field(default_factory=dict)
    _shown_at: float = field(default_factory=time.monotonic)
    _rates: dict[str, tuple[float, int, float]] = field(default_factory=dict)

    def watch(self, plan: Plan, views: Mapping[str, StageView]) -> None:
        """Take in how the stages are."""
        self.plan, self.views = plan, views
        if time.monotonic() - self._shown_at >= self.every_s:
            self._shown_at = time.monotonic()
            self.show()

    def show(self) -> None:
        """Log one line."""
        counts = {line.node: _as_json(line) for line in self.lines()}
        waiting = {name: view.waiting for name, view in self.views.items() if view.waiting}
        _log.info("progress", extra={"nodes": counts, "waiting": waiting})

    def counters(self) -> StageCounters:
        """What all stages have counted so far."""
        total = StageCounters()
        for view in self.views.values():
            total.add(view.counters)
        return total

    def lines(self) -> Iterator[NodeProgress]:
        """Every node in the order of the data."""
        for view in _together(self.views):
            for number, node in enumerate(_nodes(view.stage)):
                counts = view.counters.node(node)
                done = max(counts.received, counts.emitted)
                lag = view.lag if number == 0 and view.status != "done" else None
                status = _status(view) if number == 0 else ""
                yield NodeProgress(
                    node, counts.received, counts.emitted, counts.failed, self._rate(node, done), lag, status
                )

    def _rate(self, node: str, count: int) -> float:
        """Per second, over the last two seconds or so."""
        now = time.monotonic()
        at, before, rate = self._rates.get(node, (now, count, 0.0))
        if now - at >= _RATE_S:
            at, before, rate = now, count, (count - before) / (now - at)
        self._rates[node] = (at, before, rate)
        return rate


@dataclass
class LiveProgress(Progress):
    """The same as a table that stays in its place."""

    live: Live = field(kw_only=True)
    every_s: float = DRAW_S

    def show(self) -> None:
        """Draw the table anew."""
        self.live.update(table(list(self.lines())), refresh=True)


@contextmanager
def progress() -> Iterator[Progress]:
    """What watches a run; when the run is over the table is drawn a last time."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Progress()
        return
    with Live(console=console, auto_refresh=False) as live:
        watching = LiveProgress(live=live)
        yield watching
        watching.show()


def table(lines: list[NodeProgress]) -> Table:
    """The lines as a table."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    drawn.add_column("node")
    for name in ("in", "out", "failed", "rate", "lag"):
        drawn.add_column(name, justify="right")
    drawn.add_column("")
    for line in lines:
        failed = f"[red]{line.failed:,}[/]" if line.failed else "0"
        lag = "" if line.lag is None else f"{line.lag:,}"
        rate = f"{line.rate:,.0f}/s" if line.rate else ""
        drawn.add_row(line.node, f"{line.received:,}", f"{line.emitted:,}", failed, rate, lag, line.status)
    return drawn


def _together(views: Mapping[str, StageView]) -> Iterator[StageView]:
    """A view for each stage: what its copies count, and how the one is that is furthest from its end."""
    copies: dict[str, list[StageView]] = {}
    for view in views.values():
        copies.setdefault(view.stage.id, []).append(view)
    for group in copies.values():
        counters = StageCounters()
        for view in group:
            counters.add(view.counters)
        shown = next(
            (view for view in group if view.waiting), min(group, key=lambda view: view.status == "done")
        )
        yield replace(shown, counters=counters, lives=max(view.lives for view in group))


def _nodes(stage: Stage) -> Iterator[str]:
    yield from (inlet.node for inlet in stage.inlets if inlet.kind == "source")
    yield from stage.nodes
    yield from (outlet.node for outlet in stage.outlets if outlet.kind != "topic")


def _status(view: StageView) -> str:
    if view.waiting and view.status != "done":
        return "waiting: " + one_line(cleaned(view.waiting), 80).replace("[", r"\[")
    lives = f", started {view.lives} times" if view.lives > 1 else ""
    return view.status + lives if view.status != "running" or lives else ""


def _as_json(line: NodeProgress) -> dict[str, Any]:
    return {
        "in": line.received,
        "out": line.emitted,
        "failed": line.failed,
        "rate": round(line.rate, 1),
        "lag": line.lag,
    }
