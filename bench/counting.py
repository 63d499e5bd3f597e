"""`bench/count`: a sink that keeps nothing, so that what is measured is everything before it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from nvisy.connector.descriptor import Context, Params, SinkDescriptor
from nvisy.connector.sink import Index, Outcome, Owner, RecordSet, SinkCapabilities
from nvisy.errors import Refused

CAPABILITIES = SinkCapabilities(
    accepts=frozenset({"Embedding"}),
    deletes=True,
    guarantee="transactional",
    max_batch_records=5_000,
    max_batch_bytes=32 << 20,
    max_dimensions=None,
    metadata=frozenset({"null", "bool", "int", "float", "str", "list"}),
    generations=False,
)


class CountParams(Params):
    """There are none."""


class CountingSink:
    """Its own writer."""

    capabilities = CAPABILITIES

    def check(self) -> None:
        """Nothing can be wrong."""

    def prepare(self, owner: Owner, *, adopt: bool = False) -> str:
        """Always the same collection."""
        return "count"

    def open(self, token: int) -> CountingSink:
        """Itself."""
        return self

    def index(self) -> Index:
        """There is none."""
        raise Refused("bench/count keeps nothing that could be read")

    def apply(self, sets: Sequence[RecordSet]) -> Sequence[Outcome]:
        """As if all were new."""
        return [Outcome(written=len(one.records)) for one in sets]

    def head(self, lane: str, key: str) -> int | None:
        """None is kept."""
        return None

    def lanes(self) -> Collection[str]:
        """None is kept."""
        return ()

    def sweep(self, lane: str, below: int) -> int:
        """There is nothing to remove."""
        return 0

    def settle(self) -> None:
        """There is nothing to build."""

    def close(self) -> None:
        """Nothing is held."""


def install(folder: Path) -> None:
    """Make `folder` one that, on `PYTHONPATH`, shows the catalogue this sink."""
    information = folder / "nvisy_bench-0.dist-info"
    information.mkdir(parents=True, exist_ok=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nvisy-bench\nVersion: 0\n")
    (information / "entry_points.txt").write_text(
        "[nvisy.connectors]\nbench/count = bench.counting:DESCRIPTOR\n"
    )


def _open(_params: CountParams, _context: Context) -> CountingSink:
    return CountingSink()


DESCRIPTOR = SinkDescriptor(
    name="bench/count",
    summary="Counts what it is given, and keeps nothing.",
    params=CountParams,
    capabilities=CAPABILITIES,
    open=_open,
    place=lambda _params: ("count",),
)
