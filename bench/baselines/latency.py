"""W9 by hand: poll a topic, embed and upsert each batch, commit. Ends with its parent.

`python -m bench.baselines.latency BOOTSTRAP TOPIC DSN`
"""

from __future__ import annotations

import sys

import orjson

from bench.baselines.kafka import BATCH, consumer, cut
from bench.baselines.pgvector import Table
from bench.graphs import DIMENSIONS
from nvisy.models.hash import HashModel


def main(bootstrap: str, topic: str, dsn: str) -> None:
    """Do it until it is ended."""
    model, table = HashModel(DIMENSIONS), Table(dsn)
    source = consumer(bootstrap, topic, f"{topic}-loop")
    while True:
        first = source.poll(1.0)
        if first is None or first.error() is not None:
            continue
        messages = [first, *source.consume(BATCH - 1, 0)]
        found = [orjson.loads(one.value()) for one in messages if one.error() is None]
        rows = [row for one in found for row in cut(one["id"], one["text"])]
        table.put(rows, model.embed([row[2] for row in rows]).vectors)
        source.commit(asynchronous=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
