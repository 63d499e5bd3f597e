"""W4: a model that takes 100 ms a call: how near the calls come to the most that the limits allow.

Counted are the calls while documents are waiting: from when as many run side by side as may, until the last tenth.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench import counting, graphs
from bench.harness import ROOT, nvisy, run_child
from bench.rows import Row
from bench.world import World
from nvisy.testing.model_server import ModelServer

DOCUMENTS, SMOKE = 20_000, 400
LATENCY_S = 0.1
BATCH, IN_FLIGHT = 64, 16
MOST_PER_S = BATCH * IN_FLIGHT / LATENCY_S
DIMENSIONS = 8


def run(world: World) -> Iterator[Row]:
    """Nothing but arithmetic is the baseline."""
    path = world.corpus(world.size(DOCUMENTS, SMOKE))
    plugins = world.folder / "plugins"
    counting.install(plugins)
    rates: list[float] = []
    for turn in range(world.repeats):
        with world.scratch() as folder, ModelServer(dimensions=DIMENSIONS, latency_s=LATENCY_S) as server:
            graphs.write(
                folder,
                f"w4-{turn}",
                [graphs.files(path), *graphs.remote_steps(BATCH, DIMENSIONS), graphs.counting()],
                connections=graphs.model_at(server.url, maxInFlight=IN_FLIGHT),
            )
            run_child(nvisy("run", "graph.json", "--json"), folder, {"PYTHONPATH": f"{ROOT}:{plugins}"})
            rates.append(steady_rate(server))
    yield Row(
        workload="W4",
        what=f"a model that takes {LATENCY_S * 1000:.0f} ms, batches of {BATCH}, {IN_FLIGHT} in flight",
        unit="texts/s",
        against="the most that these allow",
        bar=0.95,
        ours=rates,
        baselines=[MOST_PER_S] * len(rates),
    )


def steady_rate(server: ModelServer) -> float:
    """Texts a second that began to be embedded while documents were waiting."""
    calls = sorted((call.at, len(call.texts)) for call in server.calls)
    first, last = len(calls) // 10, max(len(calls) * 9 // 10, len(calls) // 10 + 1)
    texts = sum(count for _, count in calls[first:last])
    return texts / max(calls[last][0] - calls[first][0], time.get_clock_info("monotonic").resolution)
