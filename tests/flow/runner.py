"""Runs a graph file to its end and prints the report: a process that tests may kill."""

from __future__ import annotations

import signal
import sys

import orjson

from nvisy.catalog import Catalog
from nvisy.graph.model import Graph
from nvisy.graph.validate import check
from nvisy.rebuilding.live import LiveRebuild
from nvisy.runtime.run import Run


def main() -> None:
    """`runner GRAPH [--follow]`."""
    checked = check(Graph.load(sys.argv[1]), Catalog.installed())
    run = Run(checked, follow="--follow" in sys.argv, rebuilder=LiveRebuild)
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    sys.stdout.buffer.write(orjson.dumps(run.start().as_json()))


if __name__ == "__main__":
    main()
