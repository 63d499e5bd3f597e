"""W1n: the same without topics, into a sink that only counts."""

from __future__ import annotations

from collections.abc import Iterator

from bench import counting, graphs
from bench.harness import ROOT, Done, baseline, nvisy, run_child, side_by_side
from bench.rows import Row
from bench.workloads.w01_ingest import DOCUMENTS, SMOKE
from bench.world import World


def run(world: World) -> Iterator[Row]:
    """The product and the loop, in turn."""
    count = world.size(DOCUMENTS, SMOKE)
    path = world.corpus(count)
    plugins = world.folder / "plugins"
    counting.install(plugins)

    def ours(_turn: int) -> Done:
        with world.scratch() as folder:
            graphs.write(
                folder, "w1n", [graphs.files(path), *graphs.steps(), graphs.counting()], topics=False
            )
            return run_child(
                nvisy("run", "graph.json", "--json"), folder, {"PYTHONPATH": f"{ROOT}:{plugins}"}
            )

    def theirs(_turn: int) -> Done:
        with world.scratch() as folder:
            return run_child(baseline("ingest", str(path)), folder)

    pairs = side_by_side(world.repeats, ours, theirs)
    assert pairs.ours[0].report["written"] == pairs.theirs[0].report["rows"]
    mine, loops = pairs.rates(count)
    yield Row(
        workload="W1n",
        what="the same without topics, into nothing",
        unit="documents/s",
        against="the same loop without its sink",
        bar=0.50,
        ours=mine,
        baselines=loops,
        facts={"documents": count, **pairs.costs()},
    )
