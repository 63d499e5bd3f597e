"""W1 by hand: read, split, embed, and every 1,000 rows into Postgres. Without a DSN they are only counted.

`python -m bench.baselines.ingest FILE [DSN]`
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import orjson

from bench import documents
from bench.baselines.pgvector import BATCH_ROWS, Row, Table
from bench.graphs import CHUNK_SIZE, DIMENSIONS
from nvisy.models.hash import HashModel
from nvisy.text.split import split


def main(path: Path, dsn: str | None = None) -> None:
    """Do it, and print how long it took."""
    model = HashModel(DIMENSIONS)
    table = Table(dsn) if dsn else None
    n_rows = 0
    rows: list[Row] = []

    def flush() -> None:
        nonlocal n_rows
        vectors = model.embed([row[2] for row in rows]).vectors
        if table:
            table.put(rows, vectors)
        n_rows += len(rows)
        rows.clear()

    started = time.perf_counter()
    for key, text in documents.read(path):
        rows += [
            (f"{key}#{ordinal}", key, text[start:end], start, end)
            for ordinal, (start, end) in enumerate(split(text, CHUNK_SIZE))
        ]
        if len(rows) >= BATCH_ROWS:
            flush()
    flush()
    working_s = time.perf_counter() - started
    if table:
        table.close()
    print(orjson.dumps({"working_s": working_s, "rows": n_rows}).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
