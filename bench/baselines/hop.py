"""W2 by hand: a topic of documents to a topic of chunks with their vectors, without transactions.

`python -m bench.baselines.hop BOOTSTRAP FROM TO COUNT`
"""

from __future__ import annotations

import sys
import time

import orjson

from bench.baselines.avro import CHUNK, DOCUMENT, decode, encode
from bench.baselines.kafka import batches, consumer, cut, producer
from bench.graphs import DIMENSIONS
from nvisy.models.hash import HashModel


def main(bootstrap: str, origin: str, target: str, count: int) -> None:
    """Do it, and print how long it took."""
    model = HashModel(DIMENSIONS)
    source, sink = consumer(bootstrap, origin, f"{target}-loop"), producer(bootstrap)
    started = 0.0
    n_chunks = 0

    def commit() -> None:
        sink.flush()
        source.commit(asynchronous=False)

    for messages in batches(source, count, commit):
        started = started or time.perf_counter()
        found = [decode(DOCUMENT, message.value()) for message in messages]
        rows = [row for one in found for row in cut(one["id"], one["text"])]
        vectors = model.embed([row[2] for row in rows]).vectors
        for (chunk, document, text, start, end), vector in zip(rows, vectors, strict=True):
            datum = {"id": chunk, "document": document, "text": text, "start": start, "end": end}
            value = encode(CHUNK, {**datum, "vector": vector.tobytes()})
            sink.produce(target, value, document.encode())
        sink.poll(0)
        n_chunks += len(rows)
    working_s = time.perf_counter() - started
    source.close()
    print(orjson.dumps({"working_s": working_s, "chunks": n_chunks}).decode())


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
