"""W5: a model with limits: how much of them two processes use, and whether any call is rejected."""

from __future__ import annotations

from collections.abc import Iterator
from math import floor

from bench import counting, graphs
from bench.harness import ROOT, nvisy, run_child
from bench.rows import Row
from bench.world import World
from nvisy.testing.model_server import ModelServer

REQUESTS_PER_MIN, TOKENS_PER_MIN = 600, 200_000
TOKENS_PER_DOCUMENT = 290
MINUTES, SMOKE_MINUTES = 5.5, 0.15
WINDOW_S, SMOKE_WINDOW_S = 60.0, 3.0
BATCH = 32
DIMENSIONS = 8
CHARACTERS_PER_TOKEN = 4


def run(world: World) -> Iterator[Row]:
    """One long run, of which each minute is a repetition."""
    minutes, window_s = (SMOKE_MINUTES, SMOKE_WINDOW_S) if world.smoke else (MINUTES, WINDOW_S)
    path = world.corpus(int(minutes * TOKENS_PER_MIN / TOKENS_PER_DOCUMENT))
    plugins = world.folder / "plugins"
    counting.install(plugins)
    limits = {"requestsPerMinute": REQUESTS_PER_MIN, "tokensPerMinute": TOKENS_PER_MIN}
    with (
        world.scratch() as folder,
        ModelServer(
            dimensions=DIMENSIONS,
            latency_s=0.05,
            requests_per_minute=REQUESTS_PER_MIN,
            tokens_per_minute=TOKENS_PER_MIN,
        ) as server,
    ):
        graphs.write(
            folder,
            "w5",
            [graphs.files(path), *graphs.remote_steps(BATCH, DIMENSIONS), graphs.counting()],
            connections=graphs.model_at(server.url, **limits),
        )
        environ = {"PYTHONPATH": f"{ROOT}:{plugins}"}
        run_child(nvisy("run", "graph.json", "--json", "--workers", "2"), folder, environ)
    used = used_per_window(server, window_s)
    yield Row(
        workload="W5",
        what=f"{REQUESTS_PER_MIN} requests and {TOKENS_PER_MIN:,} tokens a minute, two processes",
        unit="tokens/min",
        against="the limit",
        bar=0.95,
        ours=[tokens * 60 / window_s for tokens in used],
        baselines=[TOKENS_PER_MIN] * len(used),
        facts={"rejected_calls": server.over_limit},
    )
    yield Row(
        workload="W5 rejected",
        what="calls that the server rejected, of all calls",
        unit="share + 1",
        against="none",
        bar=1.0,
        at_least=False,
        ours=[1 + server.over_limit / len(server.calls)],
        baselines=[1.0],
    )


def used_per_window(server: ModelServer, window_s: float) -> list[float]:
    """Tokens of each whole window, beginning with the first call."""
    calls = sorted((call.at, sum(map(len, call.texts)) / CHARACTERS_PER_TOKEN) for call in server.calls)
    began = calls[0][0]
    whole = max(floor((calls[-1][0] - began) / window_s), 1)
    used = [0.0] * whole
    for at, tokens in calls:
        if (place := int((at - began) / window_s)) < whole:
            used[place] += tokens
    return used
