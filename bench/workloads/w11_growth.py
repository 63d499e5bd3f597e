"""W11: W1 with more documents: memory stays where it is, and the distance to the loop too."""

from __future__ import annotations

from collections.abc import Iterator

from bench.harness import Pairs, side_by_side
from bench.rows import Row
from bench.workloads import w01_ingest
from bench.world import World

SIZES = ((20_000, 2), (200_000, 1), (1_000_000, 1))
"""Documents, and how often the pair is run."""
SMOKE_SIZES = ((100, 1),)


def run(world: World) -> Iterator[Row]:
    """The small ones first."""
    sizes = SMOKE_SIZES if world.smoke else [(int(count * world.scale), repeats) for count, repeats in SIZES]
    seen: list[tuple[int, Pairs]] = []
    for count, repeats in sizes:
        seen.append((count, side_by_side(repeats, *w01_ingest.both(world, count))))
        if count != sizes[0][0]:
            world.corpus(count).unlink()
    points = [_point(count, pairs) for count, pairs in seen]
    (least, smallest), (most, largest) = seen[0], seen[-1]
    yield Row(
        workload="W11 memory",
        what=f"W1 with {most:,} documents: memory of all processes at most",
        unit="MB",
        against=f"W1 with {least:,} documents",
        bar=1.1,
        at_least=False,
        ours=[largest.costs()["memory_mb"]],
        baselines=[smallest.costs()["memory_mb"]],
        facts={"growth": points},
    )
    yield Row(
        workload="W11 speed",
        what=f"W1 with {most:,} documents: share of the loop's documents/s",
        unit="ratio",
        against=f"the same share with {least:,} documents",
        bar=0.9,
        ours=[points[-1]["ratio"]],
        baselines=[points[0]["ratio"]],
        facts={"growth": points},
    )


def _point(count: int, pairs: Pairs) -> dict[str, float]:
    mine, loops = pairs.rates(count)
    row = Row("", "", "", "", 0, mine, loops)
    return {
        "documents": count,
        "ratio": round(row.ratio, 3),
        "documents_per_s": round(row.median, 1),
        "baseline_documents_per_s": round(row.baseline, 1),
        **pairs.costs(),
    }
