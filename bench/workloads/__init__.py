"""The workloads, in the order in which they are run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module

from bench.rows import Row
from bench.world import World

MODULES: Mapping[str, str] = {
    "W1": "w01_ingest",
    "W1n": "w01n_nothing",
    "W8": "w08_codec",
    "W6": "w06_unchanged",
    "W2": "w02_hop",
    "W12": "w12_startup",
    "W3": "w03_two_hops",
    "W9": "w09_latency",
    "W4": "w04_slow_model",
    "W5": "w05_rate_limit",
    "W10": "w10_workers",
    "W11": "w11_growth",
}


def runner(name: str) -> Callable[[World], Iterator[Row]]:
    """What runs a workload."""
    run: Callable[[World], Iterator[Row]] = import_module(f"bench.workloads.{MODULES[name]}").run
    return run
