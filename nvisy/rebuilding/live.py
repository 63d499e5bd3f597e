"""Another generation brought up by the run that owns the graph, while that goes on.

A thread runs the stages of the new generation beside the old ones, in processes of their own, and verifies what they
made. Then the old stages end, the new ones read what is left, and the swap is noted. The run takes its next claim, and
with it a higher token, makes the swap, and goes on under the new graph.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

from nvisy.errors import NvisyError, Refused
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph
from nvisy.rebuilding.bringing import Bringing, Owned, RebuildReport
from nvisy.rebuilding.orders import Order, graph_in
from nvisy.rebuilding.rebuild import targeted
from nvisy.runtime.counters import Report
from nvisy.runtime.generations import generations_of, note
from nvisy.runtime.requests import Request
from nvisy.runtime.run import Run
from nvisy.runtime.settings import Settings
from nvisy.runtime.view import joined_views, last_view
from nvisy.topics.log import Claim, Log

KEPT_DRIFT = 20

_log = logging.getLogger(__name__)


class LiveRebuild:
    """One request, carried out beside a run."""

    def __init__(self, request: Request, checked: CheckedGraph, claim: Claim, settings: Settings) -> None:
        """Begin. `checked`: the graph that is run, under this claim."""
        self._request = request
        self._checked = checked
        self._claim = claim
        self._settings = settings
        self._lane: Run | None = None
        self._is_ready = threading.Event()
        self._may_go_on = threading.Event()
        self._stopped = False
        self._swaps = False
        self._thread = threading.Thread(target=self._run, name="rebuilding", daemon=True)
        self._thread.start()

    @property
    def is_ready(self) -> bool:
        """See `nvisy.runtime.run.Beside`."""
        return self._is_ready.is_set()

    @property
    def is_over(self) -> bool:
        """See `nvisy.runtime.run.Beside`."""
        return not self._thread.is_alive()

    def finish(self, *, swap: bool) -> bool:
        """See `nvisy.runtime.run.Beside`."""
        self._stopped = not (swap and self.is_ready)
        if self._stopped and self._lane is not None:
            self._lane.stop()
        self._may_go_on.set()
        self._thread.join()
        return self._swaps

    def _run(self) -> None:
        with closing(self._settings.open_log()) as log:
            try:
                outcome = self._carry_out(log)
            except NvisyError as error:
                _log.warning("what was asked about the index is not done: %s", error)
                outcome = {"error": self._checked.redactor.clean(str(error)), "exit_code": error.exit_code}
            except Exception as error:
                _log.exception("this is a defect of Nvisy: what was asked about the index is not done")
                outcome = {"error": f"{type(error).__name__}: {error}", "exit_code": 1}
            if outcome is not None:
                self._note(log, outcome)

    def _carry_out(self, log: Log) -> Mapping[str, Any] | None:
        """What became of it; nothing where it was noted already, or where it is for the next owner."""
        before = generations_of(log, self._checked.graph.id)
        if before.outcome.get("order") == self._request.id:
            return None
        self._refuse_with_others(log)
        order, started = Order.of(self._request), time.monotonic()
        checked = graph_in(self._request, self._checked, self._settings)
        owned = Owned(checked, log, self._claim, self._settings, _log.info, is_beside=True)
        report = RebuildReport(owned.graph)
        generations = targeted(order, owned, report)
        if not generations.target:
            return self._said(report)
        bringing = Bringing(owned, generations, report)
        for _ in range(
            2
        ):  # the second time there is less to read, so that the first look finds less on its way
            bringing.fill(self._takes)
            if self._stopped:
                return None
        if not bringing.is_right(allow_dead_letters=order.allow_dead_letters):
            return self._said(report)
        self._is_ready.set()
        self._may_go_on.wait()
        if self._stopped:
            return None
        bringing.fill(self._takes)
        report.state, report.generation, report.kept = "served", generations.target, generations.current
        report.duration_s = round(time.monotonic() - started, 3)
        bringing.note_swap(self._said(report))
        self._swaps = True
        return None

    def _takes(self, run: Run) -> None:
        self._lane = run
        if self._stopped:
            run.stop()

    def _refuse_with_others(self, log: Log) -> None:
        view = last_view(log, self._checked.graph.id)
        if view is not None and joined_views(log, self._checked.graph.id, view):
            raise Refused(
                "other hosts have joined the run, and would go on under the former graph: end them, do this again, and"
                " start them with the new graph when it is done"
            )

    def _said(self, report: RebuildReport) -> Mapping[str, Any]:
        report.drift = report.drift[:KEPT_DRIFT]
        return {"order": self._request.id, "report": report.as_json()}

    def _note(self, log: Log, outcome: Mapping[str, Any]) -> None:
        graph = self._checked.graph.id
        try:
            generations = generations_of(log, graph)
            noted = replace(generations, outcome={**outcome, "order": self._request.id})
            note(log, self._claim, graph, noted)
        except NvisyError as error:
            _log.warning("what became of a request about the index cannot be noted: %s", error)


def run(
    graph: Graph | CheckedGraph,
    *,
    follow: bool = False,
    allow_mass_delete: bool = False,
    adopt: bool = False,
    settings: Settings | None = None,
) -> Report:
    """Run a graph from this process, to its end. See `nvisy.runtime.run.Run` for what can go wrong.

    With `follow` it carries out what `rebuild` asks of it, and goes on under the new graph.
    """
    return Run(
        graph,
        follow=follow,
        allow_mass_delete=allow_mass_delete,
        adopt=adopt,
        rebuilder=LiveRebuild,
        settings=settings,
    ).start()
