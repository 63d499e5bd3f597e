"""W1: 20,000 documents into pgvector over the embedded log, all guarantees on."""

from __future__ import annotations

from collections.abc import Iterator

from bench import graphs
from bench.harness import Done, baseline, nvisy, run_child, side_by_side
from bench.rows import Row
from bench.world import World

DOCUMENTS, SMOKE = 20_000, 400


def run(world: World) -> Iterator[Row]:
    """The product and the loop, in turn."""
    count = world.size(DOCUMENTS, SMOKE)
    path = world.corpus(count)

    def ours(_turn: int) -> Done:
        with world.scratch() as folder, world.database() as dsn:
            graphs.write(folder, "w1", [graphs.files(path), *graphs.steps(), graphs.pgvector(dsn)])
            return run_child(nvisy("run", "graph.json", "--json"), folder)

    def theirs(_turn: int) -> Done:
        with world.scratch() as folder, world.database() as dsn:
            return run_child(baseline("ingest", str(path), dsn), folder)

    pairs = side_by_side(world.repeats, ours, theirs)
    written, expected = pairs.ours[0].report["written"], pairs.theirs[0].report["rows"]
    assert written == expected, f"{written} vectors were written, and {expected} by the loop"
    mine, loops = pairs.rates(count)
    yield Row(
        workload="W1",
        what="files → topic → chunk, embed → topic → pgvector, embedded log",
        unit="documents/s",
        against="read, split, embed, COPY, upsert in one loop",
        bar=0.80,
        ours=mine,
        baselines=loops,
        facts={"documents": count, "vectors": written, **pairs.memory()},
    )
