"""W3: two hops on a broker: W1's graph with Kafka as its log."""

from __future__ import annotations

from collections.abc import Iterator

from bench import graphs, topics
from bench.harness import Done, baseline, nvisy, run_child, side_by_side
from bench.rows import Row
from bench.world import World, unique

DOCUMENTS, SMOKE = 20_000, 200


def run(world: World) -> Iterator[Row]:
    """The product and three loops, in turn."""
    count = world.size(DOCUMENTS, SMOKE)
    kafka, path, name = world.kafka, world.corpus(count), unique("w3")

    def ours(turn: int) -> Done:
        with world.scratch() as folder, world.database() as dsn:
            nodes = [graphs.files(path), *graphs.steps(), graphs.pgvector(dsn)]
            graphs.write(folder, f"{name}-{turn}", nodes)
            environ = {"NVISY_LOG": f"kafka://{kafka}"}
            return run_child(nvisy("run", "graph.json", "--json"), folder, environ)

    def theirs(turn: int) -> Done:
        prefix = f"{name}-loop-{turn}"
        topics.create(kafka, f"{prefix}-read", f"{prefix}-work")
        with world.scratch() as folder, world.database() as dsn:
            return run_child(baseline("three", kafka, str(path), prefix, str(count), dsn), folder)

    pairs = side_by_side(world.repeats, ours, theirs)
    topics.delete(kafka, name)
    mine, loops = pairs.rates(count)
    yield Row(
        workload="W3",
        what="two hops: files → topic → chunk, embed → topic → pgvector, on a broker",
        unit="documents/s",
        against="three loops in three processes, without transactions",
        bar=0.75,
        ours=mine,
        baselines=loops,
        facts={"documents": count, **pairs.costs()},
    )
