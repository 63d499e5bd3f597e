"""W9: from a topic to searchable, at 200 documents a second on a broker.

Documents are sent at a steady rate; a look at the table every few milliseconds tells which have become visible.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median, quantiles

import orjson
import psycopg
from confluent_kafka import Producer

from bench import graphs, topics
from bench.documents import Prose
from bench.harness import baseline, nvisy, running
from bench.rows import Row
from bench.world import World, unique

RATE_PER_S = 200
SECONDS, SMOKE_SECONDS = 10, 2
WARM_S = 2.0
LOOK_S = 0.002
SILENCE_S = 60.0


def run(world: World) -> Iterator[Row]:
    """Both shapes of the graph and the loop, in turn."""
    ways = {"W9a": False, "W9b": True}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in (*ways, "loop")}
    for turn in range(world.repeats):
        for name, kept in [*ways.items(), ("loop", False)]:
            seen[name].append(_measured(world, f"{unique('w9')}-{turn}", None if name == "loop" else kept))
    for name, what, p50, p99 in (
        ("W9a", "topic → chunk → embed → pgvector as one stage", 1.5, 2.0),
        ("W9b", "with a topic between embed and sink", 2.5, 4.0),
    ):
        for place, (quantile, bar) in enumerate((("p50", p50), ("p99", p99))):
            yield Row(
                workload=f"{name} {quantile}",
                what=f"{what}: {quantile} at {RATE_PER_S} documents/s",
                unit="ms",
                against="poll, embed, upsert and commit each batch in one loop",
                bar=bar,
                at_least=False,
                ours=[one[place] * 1000 for one in seen[name]],
                baselines=[one[place] * 1000 for one in seen["loop"]],
            )


def _measured(world: World, name: str, kept: bool | None) -> tuple[float, float]:
    """p50 and p99 in seconds, of the graph with or without its second topic, or of the loop (None)."""
    kafka = world.kafka
    topics.create(kafka, name)
    with world.scratch() as folder, world.database() as dsn:
        if kept is None:
            argv, column, environ = baseline("latency", kafka, name, dsn), "document", {}
            table = "chunks"
        else:
            source = {"topic": name, "format": "json", "key": "id"}
            nodes = [
                {"id": "in", "type": "source", "provider": "topic", "params": source},
                *graphs.steps(),
                graphs.pgvector(dsn),
            ]
            graphs.write(folder, name, nodes, topics={"embed": kept})
            argv, column = nvisy("run", "graph.json", "--json", "--follow"), "key"
            environ, table = {"NVISY_LOG": f"kafka://{kafka}"}, "docs"
        seconds = SMOKE_SECONDS if world.smoke else SECONDS
        with running(argv, folder, environ) as process, _connected(dsn) as connection:
            latencies = _latencies(process, kafka, name, Visible(connection, table, column), seconds)
    topics.delete(kafka, name)
    return median(latencies), quantiles(latencies, n=100)[98]


def _latencies(
    process: subprocess.Popen[bytes], kafka: str, topic: str, visible: Visible, seconds: float
) -> Sequence[float]:
    """Send for so long, and see each become visible. The first, until which everything starts, does not count."""
    prose, producer = Prose(1), Producer({"bootstrap.servers": kafka, "linger.ms": 0, "acks": "all"})
    sent: dict[str, float] = {}
    found: dict[str, float] = {}

    def send(number: int) -> None:
        key = f"d{number:07}"
        value = orjson.dumps({"id": key, "text": prose.text(number)})
        producer.produce(topic, value, key.encode())
        producer.poll(0)
        sent[key] = time.monotonic()

    def look() -> None:
        now_visible = visible.new(sent.keys() - found.keys())
        found.update(dict.fromkeys(now_visible, time.monotonic()))

    send(0)
    _until(lambda: look() or bool(found), process)
    began, total = time.monotonic(), int((WARM_S + seconds) * RATE_PER_S)
    number = 1
    while number < total:
        due = int((time.monotonic() - began) * RATE_PER_S)
        while number <= min(due, total - 1):
            send(number)
            number += 1
        look()
        time.sleep(LOOK_S)
    _until(lambda: look() or len(found) == len(sent), process)
    producer.flush()
    counted = sorted(sent)[int(WARM_S * RATE_PER_S) :]
    return [found[key] - sent[key] for key in counted]


class Visible:
    """Which documents have rows in a table that can be seen from here."""

    def __init__(self, connection: psycopg.Connection, table: str, column: str) -> None:
        self._connection = connection
        self._there = f"SELECT to_regclass('{table}') IS NOT NULL"
        self._query = f"SELECT DISTINCT {column} FROM {table} WHERE {column} = ANY(%s)"
        self._is_there = False

    def new(self, keys: set[str]) -> list[str]:
        """Those of these documents."""
        if not self._is_there:
            self._is_there = bool(self._connection.execute(self._there).fetchone()[0])
        if not keys or not self._is_there:
            return []
        return [key for (key,) in self._connection.execute(self._query, (list(keys),))]


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SET enable_seqscan = off")
        yield connection


def _until(is_so, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SILENCE_S
    while not is_so():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"`{process.args}` ended, or brought nothing forward for {SILENCE_S:.0f} s")
        time.sleep(LOOK_S)
