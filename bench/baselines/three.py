"""W3 by hand: three loops as three processes, files → topic → topic with vectors → pgvector, without transactions.

`python -m bench.baselines.three BOOTSTRAP FILE PREFIX COUNT DSN`
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import orjson

from bench import documents
from bench.baselines.avro import CHUNKED, DOCUMENT, decode, encode
from bench.baselines.kafka import batches, consumer, cut, producer
from bench.baselines.pgvector import BATCH_ROWS, Row, Table
from bench.graphs import DIMENSIONS
from nvisy.models.hash import HashModel


def read(bootstrap: str, path: str, prefix: str, _count: str, _dsn: str) -> None:
    """Files to a topic."""
    sink = producer(bootstrap)
    _say(began=time.time())
    for number, (key, text) in enumerate(documents.read(Path(path))):
        sink.produce(f"{prefix}-read", encode(DOCUMENT, {"id": key, "text": text}), key.encode())
        if number % 500 == 0:
            sink.poll(0)
    sink.flush()


def work(bootstrap: str, _path: str, prefix: str, count: str, _dsn: str) -> None:
    """Documents to documents with their chunks and vectors."""
    model = HashModel(DIMENSIONS)
    source, sink = consumer(bootstrap, f"{prefix}-read", f"{prefix}-work"), producer(bootstrap)

    def commit() -> None:
        sink.flush()
        source.commit(asynchronous=False)

    for messages in batches(source, int(count), commit):
        found = [decode(DOCUMENT, message.value()) for message in messages]
        rows = [cut(one["id"], one["text"]) for one in found]
        vectors = iter(model.embed([row[2] for one in rows for row in one]).vectors)
        for one, message in zip(rows, messages, strict=True):
            chunks = [
                {"text": text, "start": start, "end": end, "vector": next(vectors).tobytes()}
                for _, _, text, start, end in one
            ]
            document = message.key()
            sink.produce(
                f"{prefix}-work", encode(CHUNKED, {"id": document.decode(), "chunks": chunks}), document
            )
        sink.poll(0)
    source.close()


def write(bootstrap: str, _path: str, prefix: str, count: str, dsn: str) -> None:
    """Those into Postgres."""
    source, table = consumer(bootstrap, f"{prefix}-work", f"{prefix}-write"), Table(dsn)
    rows: list[Row] = []
    vectors: list[bytes] = []

    def flush() -> None:
        if rows:
            table.put(rows, np.frombuffer(b"".join(vectors), "<f4").reshape(len(rows), -1))
            rows.clear()
            vectors.clear()

    def commit() -> None:
        flush()
        source.commit(asynchronous=False)

    for messages in batches(source, int(count), commit):
        for message in messages:
            document = decode(CHUNKED, message.value())
            for ordinal, chunk in enumerate(document["chunks"]):
                place = chunk["start"], chunk["end"]
                rows.append((f"{document['id']}#{ordinal}", document["id"], chunk["text"], *place))
                vectors.append(chunk["vector"])
            if len(rows) >= BATCH_ROWS:
                flush()
    _say(ended=time.time())
    source.close()
    table.close()


def main(*arguments: str) -> None:
    """Start all three at once, and print how long it took from the first document read to the last row."""
    said: dict[str, float] = {}
    processes = [
        subprocess.Popen([sys.executable, "-m", __spec__.name, name, *arguments], stdout=subprocess.PIPE)
        for name in ("write", "work", "read")
    ]
    for process in processes:
        out, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"a loop ended with {process.returncode}")
        for line in out.splitlines():
            said |= orjson.loads(line)
    print(orjson.dumps({"working_s": said["ended"] - said["began"]}).decode())


def _say(**times: float) -> None:
    print(orjson.dumps(times).decode(), flush=True)


if __name__ == "__main__":
    part = {"read": read, "work": work, "write": write}.get(sys.argv[1])
    part(*sys.argv[2:]) if part else main(*sys.argv[1:])
