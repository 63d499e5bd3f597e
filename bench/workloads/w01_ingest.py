"""W1: 20,000 documents into pgvector over the embedded log, all guarantees on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench import graphs
from bench.harness import Done, baseline, nvisy, run_child, side_by_side
from bench.rows import Row
from bench.world import World

DOCUMENTS, SMOKE = 20_000, 400


def run(world: World) -> Iterator[Row]:
    """The product and the loop, in turn."""
    count = world.size(DOCUMENTS, SMOKE)
    pairs = side_by_side(world.repeats, *both(world, count))
    mine, loops = pairs.rates(count)
    yield Row(
        workload="W1",
        what="files → topic → chunk, embed → topic → pgvector, embedded log",
        unit="documents/s",
        against="read, split, embed, COPY, upsert in one loop",
        bar=0.80,
        ours=mine,
        baselines=loops,
        facts={"documents": count, "vectors": pairs.ours[0].report["written"], **pairs.costs()},
    )


def both(world: World, count: int) -> tuple[Callable[[int], Done], Callable[[int], Done]]:
    """What runs the product over so many documents, and what runs the loop."""
    path = world.corpus(count)
    rows: set[int] = set()

    def ours(_turn: int) -> Done:
        with world.scratch() as folder, world.database() as dsn:
            graphs.write(folder, "w1", [graphs.files(path), *graphs.steps(), graphs.pgvector(dsn)])
            return agreed(run_child(nvisy("run", "graph.json", "--json"), folder), "written")

    def theirs(_turn: int) -> Done:
        with world.scratch() as folder, world.database() as dsn:
            return agreed(run_child(baseline("ingest", str(path), dsn), folder), "rows")

    def agreed(done: Done, name: str) -> Done:
        rows.add(done.report[name])
        assert len(rows) == 1, f"the product and the loop wrote different numbers of rows: {rows}"
        return done

    return ours, theirs
