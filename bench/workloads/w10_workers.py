"""W10: one worker and four on a topic of eight partitions, with a model that makes everybody wait."""

from __future__ import annotations

from collections.abc import Iterator

from bench import counting, graphs
from bench.harness import ROOT, Done, nvisy, run_child, side_by_side
from bench.rows import Row
from bench.world import World
from nvisy.testing.model_server import ModelServer

DOCUMENTS, SMOKE = 4_000, 200
WORKERS = 4
LATENCY_S = 0.1
BATCH, PER_WORKER = 32, 2
DIMENSIONS = 8


def run(world: World) -> Iterator[Row]:
    """Four in a run, and one, in turn."""
    count = world.size(DOCUMENTS, SMOKE)
    path = world.corpus(count)
    plugins = world.folder / "plugins"
    counting.install(plugins)

    def workers(number: int) -> Done:
        with world.scratch() as folder, ModelServer(dimensions=DIMENSIONS, latency_s=LATENCY_S) as server:
            steps = graphs.remote_steps(BATCH, DIMENSIONS)
            steps[-1]["concurrency"] = {"maxPerNode": PER_WORKER}
            graphs.write(
                folder,
                f"w10-{number}",
                [graphs.files(path), *steps, graphs.counting()],
                connections=graphs.model_at(server.url),
                log={"partitions": 8},
            )
            argv = nvisy("run", "graph.json", "--json", "--workers", str(number))
            return run_child(argv, folder, {"PYTHONPATH": f"{ROOT}:{plugins}"})

    pairs = side_by_side(world.repeats, lambda _turn: workers(WORKERS), lambda _turn: workers(1))
    four, one = pairs.rates(count)
    yield Row(
        workload="W10",
        what=f"{WORKERS} workers on eight partitions, the model bound to {PER_WORKER} calls of 100 ms each",
        unit="documents/s",
        against="one worker",
        bar=3.6,
        ours=four,
        baselines=one,
        facts={"documents": count},
    )
