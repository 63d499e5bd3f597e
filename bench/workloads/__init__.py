"""The workloads, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module

from bench.rows import Row
from bench.world import World

MODULES: Mapping[str, str] = {
    "W1": "w01_ingest",
    "W1n": "w01n_nothing",
}


def runner(name: str) -> Callable[[World], Iterator[Row]]:
    """What runs a workload."""
    run: Callable[[World], Iterator[Row]] = import_module(f"bench.workloads.{MODULES[name]}").run
    return run
