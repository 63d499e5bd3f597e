"""`python -m bench.rebuilding [RECORDS …]`: a rebuild by the numbers, 10,000 and 100,000 records unless given.

For each size an index of 256 dimensions is filled from a log, as in `bench.verifying`. Then its distance is changed,
and `nvisy rebuild` builds it anew from the embeddings in the log, as a user runs it. Beside it, in the same run, the
loop that one would write by hand: read the topic, decode, write with the same sink's client in batches of one size.
The ratio is the loop's time to that of the stages of the rebuild, starting up and stopping included; verifying and
swapping come on top and are printed too. The processor's time, of all processes, hardly depends on what
else the machine does; that of the rebuild holds verifying, starting up and stopping.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from contextlib import closing
from itertools import islice
from pathlib import Path

from bench.verifying import DOCUMENTS_AT_ONCE, GRAPH, fill, nvisy
from nvisy.catalog import Catalog
from nvisy.connector.sink import Owner
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.generations import FIRST
from nvisy.runtime.codecs import Codecs
from nvisy.runtime.generations import Generation, Generations, note
from nvisy.runtime.records import lane_of, record_set
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink


def main() -> int:
    """Each size after the other."""
    sizes = [int(word) for word in sys.argv[1:]] or [10_000, 100_000]
    print(
        "| records | bare loop, records/s | rebuild, records/s | ratio | verify, s | swap, s | CPU, s | memory, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("NVISY_BENCH_FOLDER")) as folder:
            print(measured(Path(folder), size), flush=True)
    return 0


def measured(folder: Path, size: int) -> str:
    """One row of the table."""
    path, settings = folder / "graph.json", Settings(folder / ".nvisy")
    path.write_text(json.dumps(GRAPH))
    checked = check(Graph.load(path), Catalog.installed())
    fill(checked, settings, size)
    remember(checked, settings)
    began_s = time.process_time()
    loop_s = bare_loop(checked, settings)
    loop_cpu_s = time.process_time() - began_s
    value = json.loads(path.read_text())
    value["nodes"][-1]["params"]["distance"] = "l2"
    path.write_text(json.dumps(value))
    ended = nvisy(folder, "rebuild")
    report = ended.lines[-1]
    assert (ended.code, report["state"], report["written"]) == (0, "served", size), ended.lines
    rest_s = report["duration_s"] - report["fill_s"] - report["verify_s"]
    return (
        f"| {size:,} | {size / loop_s:,.0f} | {size / report['fill_s']:,.0f} | {loop_s / report['fill_s']:.2f} |"
        f" {report['verify_s']:.1f} | {rest_s:.1f} | {loop_cpu_s:.1f}, {ended.cpu_s:.1f} | {ended.memory_mb:,.0f} |"
    )


def remember(checked: CheckedGraph, settings: Settings) -> None:
    """Which graph the index is of, as a run notes it."""
    graph = checked.graph.id
    with closing(settings.open_log()) as log:
        claim = log.claim(graph, "bench:1")
        noted = Generation.of(checked, compile_graph(checked), FIRST)
        note(log, claim, graph, Generations().with_generation(1, noted))
        claim.release()


def bare_loop(checked: CheckedGraph, settings: Settings) -> float:
    """Seconds that it takes to read the topic, decode it, and write it into a third collection."""
    (topic,) = (name for stage in compile_graph(checked).stages if stage.sinks for name in stage.inputs)
    _, sink = open_sink(checked, "index", settings.state, generation=99)
    shape = checked.nodes["index"].incoming
    assert shape is not None
    lane, codec = lane_of(checked.graph.id, "index", "files"), Codecs(checked, settings).changes
    with closing(settings.open_log()) as log:
        sink.prepare(Owner(checked.graph.id, log.id, shape.model, shape.dimensions))
        with closing(sink.open(1)) as writer:
            started = time.monotonic()
            records = log.scan(topic)
            while batch := list(islice(records, DOCUMENTS_AT_ONCE)):
                writer.apply([record_set(codec.decode(record), lane, "index") for record in batch])
            writer.settle()
            return time.monotonic() - started


if __name__ == "__main__":
    raise SystemExit(main())
