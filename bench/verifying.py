"""`python -m bench.verifying [RECORDS …]`: verify and repair by the numbers, 10,000 and 100,000 records unless given.

For each size an index of 256 dimensions is filled from a log, five records a document. Then `nvisy verify` is run as a
user runs it, on the index as it is, and with one thing planted at a time: a deleted record, an extra one, a stale
version, a flipped vector, a wrong hash in a head. It has to find exactly that, and `nvisy repair` has to mend it. What
is printed is records per second and the highest memory of the process, of the first and undamaged verify.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nvisy.catalog import Catalog
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Stage
from nvisy.primitives import Embedding, Span
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.codecs import Codecs
from nvisy.runtime.records import lane_of, record_set
from nvisy.runtime.run import make_topics
from nvisy.runtime.seating import seat_config, take_seat
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import take_over
from nvisy.topics.log import Append, Log, Seat, TopicPartition
from nvisy.topics.partitioner import partition_of
from tests.flow.planting import SqliteRows, plant

DIMENSIONS = 256
PER_DOCUMENT = 5
DOCUMENTS_AT_ONCE = 500
PLANTED = (
    "a deleted record",
    "an extra record",
    "a stale version",
    "a flipped vector",
    "a wrong hash in a head",
)
GRAPH = {
    "name": "verified",
    "nodes": [
        {"id": "files", "type": "source", "provider": "object/files", "params": {"path": "docs"}},
        {"id": "text", "type": "action", "action": "extract"},
        {"id": "chunk", "type": "action", "action": "chunk"},
        {
            "id": "embed",
            "type": "action",
            "action": "embed",
            "params": {"model": "local/hash", "dimensions": DIMENSIONS},
        },
        {
            "id": "index",
            "type": "sink",
            "provider": "vector/sqlite",
            "params": {"path": ".nvisy/index.db", "collection": "docs"},
        },
    ],
    "edges": [
        {"from": "files", "to": "text"},
        {"from": "text", "to": "chunk"},
        {"from": "chunk", "to": "embed"},
        {"from": "embed", "to": "index"},
    ],
}


class Ended(NamedTuple):
    """A command that has ended: its code, what it said, how long it took, and the most memory it had.

    `cpu_s` is the processor's time, its own and that of all processes that it started.
    """

    code: int
    lines: list[dict[str, Any]]
    duration_s: float
    memory_mb: float
    cpu_s: float = 0.0


def main() -> int:
    """Each size after the other."""
    sizes = [int(word) for word in sys.argv[1:]] or [10_000, 100_000]
    print("| records | verify, records/s | memory, MB | planted, found and mended | repair, s |")
    print("|---|---|---|---|---|")
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=os.environ.get("NVISY_BENCH_FOLDER")) as folder:
            print(measured(Path(folder), size), flush=True)
    return 0


def measured(folder: Path, size: int) -> str:
    """One row of the table."""
    path = folder / "graph.json"
    path.write_text(json.dumps(GRAPH))
    fill(check(Graph.load(path), Catalog.installed()), Settings(folder / ".nvisy"), size)
    clean = nvisy(folder, "verify")
    assert clean.code == 0, clean.lines
    assert clean.lines[-1]["sinks"][0]["records"] == size
    rows, repairs_s = SqliteRows(folder / ".nvisy" / "index.db", "docs"), []
    for what in PLANTED:
        planted = plant(rows, what)
        found = nvisy(folder, "verify")
        findings = {(line["kind"], line["id"]) for line in found.lines[:-1]}
        assert (found.code, findings) == (7, set(planted.findings)), (what, found.lines)
        mended = nvisy(folder, "repair")
        assert mended.code == 0, (what, mended.lines)
        assert mended.lines[-1]["sinks"][0]["documents"] == 1, (what, mended.lines)
        repairs_s.append(mended.duration_s)
    assert nvisy(folder, "verify").code == 0
    rate = size / clean.lines[-1]["duration_s"]
    repair_s = sorted(repairs_s)[len(repairs_s) // 2]
    return f"| {size:,} | {rate:,.0f} | {clean.memory_mb:,.0f} | {len(PLANTED)} of {len(PLANTED)} | {repair_s:.1f} |"


def nvisy(folder: Path, command: str) -> Ended:
    """Run a command as a user does."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NVISY_")}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "nvisy", command, "graph.json", "--json"],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    lines = [json.loads(line) for line in process.stdout]
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu_s = usage.ru_utime + usage.ru_stime
    return Ended(process.returncode, lines, time.monotonic() - started, usage.ru_maxrss / 1024, cpu_s)


def fill(checked: CheckedGraph, settings: Settings, size: int) -> None:
    """Put records into the topic before the sink and into the sink, as if the graph had been run."""
    plan = compile_graph(checked)
    stage = next(stage for stage in plan.stages if "index" in stage.sinks)
    with closing(settings.open_log()) as log:
        make_topics(log, checked, plan)
        sink = take_over(checked, "index", log.id, settings.state, token=1, slot=0, adopt=False)
        codec = Codecs(checked, settings).codec
        filling = log.session(Seat(plan.graph, "/fill", "", (), ()))
        lane, left = lane_of(plan.graph, "index", "files"), changes(size, plan.partitions)
        with closing(filling), closing(sink.writer):
            while batch := list(islice(left, DOCUMENTS_AT_ONCE)):
                topic = stage.inputs[0]
                filling.append(
                    [
                        Append(topic, one.origin.partition, one.message_key, codec.encode_change(one, topic))
                        for one in batch
                    ]
                )
                filling.commit({})
                sink.writer.apply([record_set(one, lane, "index") for one in batch])
            commit(log, plan.graph, stage, seat_config(stage, [sink.collection], 0))


def commit(log: Log, graph: str, stage: Stage, config: str) -> None:
    """The stage of the sink has read everything."""
    session, _ = take_seat(log, Seat(graph, stage.id, config, stage.inputs, stage.outputs), adopt=False)
    with closing(session):
        info = log.describe(stage.inputs[0])
        assert info is not None
        session.commit({TopicPartition(info.name, partition): end for partition, end in info.end.items()})


def changes(size: int, partitions: int) -> Iterator[Change]:
    """Documents of some passages each, whose vectors are as good as any."""
    numbers = np.random.default_rng(1)
    for document in range(size // PER_DOCUMENT):
        key = f"folder-{document % 97:02}/document-{document:07}.md"
        partition = partition_of(f"files/{key}".encode(), partitions)
        version, seen = Version(1, document), 1_760_000_000_000_000 + document
        uri, run = f"file:///docs/{key}", "0123456789ab"
        origin = Provenance("files", key, uri, version, partition, seen, run, "verified.files")
        vectors = numbers.standard_normal((PER_DOCUMENT, DIMENSIONS), np.float32)
        yield Change(
            origin,
            "upsert",
            tuple(passage(origin, number, vector) for number, vector in enumerate(vectors)),
        )


def passage(origin: Provenance, number: int, vector: np.ndarray[Any, np.dtype[np.float32]]) -> Embedding:
    """One passage of a document: some 400 characters."""
    text = f"passage {number} of {origin.key}: " + "what is said of it here, and there " * 11
    made = Embedding(
        vector=vector,
        model="local/hash@1",
        text=text,
        span=Span(number * 400, number * 400 + len(text)),
        metadata={"lang": "en", "number": number},
    )
    steps = "text@1a2b3c4d/chunk@5e6f7a8b/embed@9c0d1e2f"
    return made.identified(discriminator=str(number), node="embed", steps=steps, parent="", provenance=origin)


if __name__ == "__main__":
    sys.exit(main())
