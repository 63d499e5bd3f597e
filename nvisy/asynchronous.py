"""Running and asking from a server: the same calls, awaited, on a thread of their own."""

from __future__ import annotations

import asyncio

from nvisy.connector.sink import Hit
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph
from nvisy.query import search
from nvisy.rebuilding.live import LiveRebuild
from nvisy.runtime.counters import Report
from nvisy.runtime.run import Run
from nvisy.runtime.settings import Settings


async def run_async(
    graph: Graph | CheckedGraph,
    *,
    follow: bool = False,
    allow_mass_delete: bool = False,
    adopt: bool = False,
    settings: Settings | None = None,
) -> Report:
    """Run a graph to its end; when the task is cancelled, finish what is in flight first. See `run`."""
    run = Run(
        graph,
        follow=follow,
        allow_mass_delete=allow_mass_delete,
        adopt=adopt,
        rebuilder=LiveRebuild,
        settings=settings,
    )
    running = asyncio.ensure_future(asyncio.to_thread(run.start))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        run.stop()
        await running
        raise


async def search_async(
    graph: Graph | CheckedGraph,
    question: str,
    k: int = 5,
    filter: str = "",  # noqa: A002 - as in `search`
    *,
    sink: str | None = None,
    settings: Settings | None = None,
) -> list[Hit]:
    """The `k` records nearest in meaning to a question. See `search`."""
    return await asyncio.to_thread(search, graph, question, k, filter, sink=sink, settings=settings)
