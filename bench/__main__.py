"""`python -m bench [W1 W8 …]`: runs the workloads and prints the table; without names all of them, and writes it down.

`--smoke` takes small inputs, runs everything once and judges nothing: it shows that the workloads work.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from bench import report
from bench.rows import Row
from bench.workloads import MODULES, runner
from bench.world import World
from tests.servers.postgres import PostgresServer

REPEATS = 5


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(MODULES))
    parser.add_argument("--smoke", action="store_true", help="small inputs, once, no judgement")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="pairs of runs, 5 by default")
    parser.add_argument("--scale", type=float, default=1.0, help="of the inputs, for a first look")
    parser.add_argument("--kafka", metavar="HOST:PORT", help="a broker that runs already")
    parser.add_argument(
        "--postgres", metavar="FOLDER", type=Path, help="of a server of tests.servers that runs already"
    )
    options = parser.parse_args()
    if unknown := set(options.workloads) - set(MODULES):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}; there are {', '.join(MODULES)}")
    world = World(
        smoke=options.smoke,
        repeats=options.repeats,
        scale=options.scale,
        postgres=PostgresServer(options.postgres) if options.postgres else None,
        kafka=options.kafka,
    )
    with world:
        rows, failed = run(world, options.workloads or list(MODULES))
    print("\n" + report.table(rows, judged=not options.smoke))
    if not options.workloads and not options.smoke:
        report.write(rows, failed)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(world: World, names: list[str]) -> tuple[list[Row], list[str]]:
    """The rows of these workloads, each told of as it is there, and the workloads that failed."""
    rows: list[Row] = []
    failed: list[str] = []
    for name in names:
        try:
            for row in runner(name)(world):
                print(report.line(row, judged=not world.smoke), _facts(row), flush=True)
                rows.append(row)
        except Exception:  # the others have their worth without it
            traceback.print_exc()
            failed.append(name)
    return rows, failed


def _facts(row: Row) -> str:
    return " ".join(f"{name}={value}" for name, value in row.facts.items())


if __name__ == "__main__":
    sys.exit(main())
