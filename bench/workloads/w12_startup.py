"""W12: how long until something happens: the help, a check of 20 nodes, a run up to the first record read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import graphs
from bench.harness import Done, nvisy, run_child
from bench.rows import Row
from bench.world import World

HELP_S, LINT_S, RUN_RATIO = 0.3, 0.5, 3.0
IMPORTS = [sys.executable, "-c", "import bytewax, confluent_kafka"]


def run(world: World) -> Iterator[Row]:
    """Each of them in turn; the first of each fills the caches of files, and does not count."""
    repeats = world.repeats
    with world.scratch() as folder:
        helped = _again(repeats, nvisy("--help"), folder)
        graphs.write(folder, "w12", _chain(world.corpus(10), 20))
        linted = _again(repeats, nvisy("lint", "graph.json"), folder)
        graphs.write(folder, "w12", [graphs.files(world.corpus(10)), *graphs.steps(), _sqlite()])
        run_child(nvisy("run", "graph.json", "--json"), folder)
        imported, began = [], []
        for _ in range(repeats):
            imported.append(run_child(IMPORTS, folder))
            began.append(run_child(nvisy("run", "graph.json", "--json"), folder))
    yield _row("W12 help", "nvisy --help", "300 ms", 1.0, [one.wall_s for one in helped], [HELP_S] * repeats)
    yield _row(
        "W12 lint",
        "lint of a graph of 20 nodes",
        "500 ms",
        1.0,
        [one.wall_s for one in linted],
        [LINT_S] * repeats,
    )
    yield _row(
        "W12 run",
        "run, to the first record read",
        "python -c 'import bytewax, confluent_kafka'",
        RUN_RATIO,
        [one.first_read_s for one in began],
        [one.wall_s for one in imported],
    )


def _again(repeats: int, argv: Sequence[str], folder: Path) -> list[Done]:
    return [run_child(argv, folder) for _ in range(repeats + 1)][1:]


def _row(name: str, what: str, against: str, bar: float, ours: list[float], baselines: list[float]) -> Row:
    return Row(name, what, "s", against, bar, ours, baselines, at_least=False)


def _chain(path: Path, length: int) -> list[graphs.Node]:
    """A source, filters, chunks, vectors, a sink: `length` nodes."""
    filters = [
        {
            "id": f"filter{number}",
            "type": "action",
            "action": "filter",
            "params": {"when": f"size(text) > {number}"},
        }
        for number in range(length - 4)
    ]
    return [graphs.files(path), *filters, *graphs.steps(), _sqlite()]


def _sqlite() -> graphs.Node:
    params = {"path": "index.db", "collection": "docs"}
    return {"id": "index", "type": "sink", "provider": "vector/sqlite", "params": params}
