"""What is to be done about the generations of a graph, and asking the run that owns the graph to do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from nvisy.errors import NvisyError, Unreachable
from nvisy.graph.validate import CheckedGraph, check
from nvisy.rebuilding.bringing import RebuildReport
from nvisy.runtime.generations import generations_of
from nvisy.runtime.kept_graph import graph_from, kept
from nvisy.runtime.requests import Request, answered, append_outside, ask, standing
from nvisy.runtime.settings import Settings
from nvisy.runtime.view import last_view
from nvisy.topics.log import Log

POLL_S = 0.5
OUTAGE_S = 60.0
"""So long a log that does not answer is waited for; the owner goes on meanwhile."""
NOBODY_S = 5.0
"""So long nobody holds the graph before it is taken to be free: an owner lets go of it for a moment at a swap."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done. See `nvisy.rebuilding.rebuild` for what each part means."""

    kind: Literal["rebuild", "rollback", "finish"]
    start: str = "beginning"
    anew: bool = False
    allow_dead_letters: bool = False

    def request(self, checked: CheckedGraph) -> Request:
        """As it is left for an owner."""
        return Request(self.kind, (), order={**asdict(self), "graph": kept(checked)})

    @classmethod
    def of(cls, request: Request) -> Self:
        """The order in a request."""
        return cls(**{name: value for name, value in request.order.items() if name != "graph"})


def graph_in(request: Request, like: CheckedGraph, settings: Settings) -> CheckedGraph:
    """The graph in a request, in the folder of the version that is run.

    Raises:
        GraphError: What it needs is not there for the process that runs it.
    """
    return check(graph_from(request.order["graph"], like), like.catalog, settings.environ)


class OrderFailed(NvisyError):  # noqa: N818 - what became of an order
    """The run that owns the graph could not carry it out; says why, with the exit code of that."""

    def __init__(self, message: str, exit_code: int) -> None:
        self.exit_code = exit_code
        super().__init__(message)


class Asking:
    """One order, and what becomes of it while somebody else owns the graph."""

    def __init__(self, log: Log, checked: CheckedGraph, order: Order, told: Callable[[str], None]) -> None:
        self._log = log
        self._checked = checked
        self._graph = checked.graph.id
        self._order = order
        self._told = told
        self._asked: Request | None = None
        self._said = ""

    def by_owner(self) -> RebuildReport | None:
        """Have the owner carry it out, and wait for that; None if there is no owner, or none any more.

        A run that ends by itself is waited for. Interrupted, the request stands, and the owner carries it out.

        Raises:
            OrderFailed: The owner could not.
        """
        held_at = heard_at = time.monotonic()
        while True:
            try:
                if (report := self._outcome()) is not None:
                    return report
                holder = self._log.holder(self._graph)
                heard_at = time.monotonic()
                if holder is not None:
                    held_at = heard_at
                    self._ask(holder.owner)
                elif self._asked is None or heard_at - held_at > NOBODY_S:
                    return None
            except Unreachable:
                if self._asked is None or time.monotonic() - heard_at > OUTAGE_S:
                    raise
            time.sleep(POLL_S)

    def withdraw(self) -> None:
        """It was carried out without an owner."""
        if self._asked is not None:
            append_outside(self._log, self._graph, "/requests", [answered(self._graph, self._asked)])

    def _ask(self, owner: str) -> None:
        view = last_view(self._log, self._graph)
        if view is None or view.owner != owner:
            return  # it has not said anything about itself yet
        if not view.follow:
            self._say(f"graph {self._graph} is being run by {owner}, which ends by itself: waiting for that")
        elif self._asked is None:
            self._asked = self._same() or ask(self._log, self._graph, self._order.request(self._checked))
            self._say(f"{owner} runs graph {self._graph}, and was asked to carry it out")

    def _same(self) -> Request | None:
        """A request for the same that stands already, of a command that was ended."""
        wanted = self._order.request(self._checked)
        asked = (one for one in standing(self._log, self._graph) if one.kind == wanted.kind)
        return next((one for one in asked if one.order == wanted.order), None)

    def _outcome(self) -> RebuildReport | None:
        if self._asked is None:
            return None
        generations = generations_of(self._log, self._graph)
        outcome: Mapping[str, Any] = generations.outcome
        if outcome.get("order") != self._asked.id or generations.phase == "swapping":
            if generations.target:
                self._say(f"generation {generations.target} is {generations.phase}")
            return None
        if "error" in outcome:
            raise OrderFailed(outcome["error"], outcome["exit_code"])
        return RebuildReport.from_json(outcome["report"])

    def _say(self, said: str) -> None:
        if said != self._said:
            self._said = said
            self._told(said)
