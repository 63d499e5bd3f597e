"""What became of the runs of a graph: `nvisy runs`."""

from __future__ import annotations

from contextlib import closing

from nvisy.errors import UsageError
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.runtime.run_history import KEPT_DAYS, RunRecord, runs_of
from nvisy.runtime.settings import Settings


def runs(graph: Graph | CheckedGraph, *, settings: Settings | None = None) -> list[RunRecord]:
    """The runs of a graph in the last ninety days, the newest first, the live one included.

    Args:
        graph: The graph.
        settings: Where the log is; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        Unreachable: The log does not answer.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    with closing((settings or Settings.from_environ()).open_log()) as log:
        return runs_of(log, checked.graph.id)


def run_named(found: list[RunRecord], name: str, graph: str) -> RunRecord:
    """The run whose id begins with `name`.

    Raises:
        UsageError: There is none, or several.
    """
    meant = [one for one in found if one.id.startswith(name)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise UsageError(
            f"{len(meant)} runs of graph {graph} have ids that begin with {name!r}: write more of it"
        )
    raise UsageError(
        f"no run {name!r} of graph {graph} is remembered; `nvisy runs` lists those of the last {KEPT_DAYS} days"
    )
