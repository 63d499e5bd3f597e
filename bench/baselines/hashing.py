"""W6 by hand: read every document and hash it. `python -m bench.baselines.hashing FILE`"""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import orjson

from bench import documents


def main(path: Path) -> None:
    """Do it, and print how long it took."""
    seen: dict[str, bytes] = {}
    started = time.perf_counter()
    for key, text in documents.read(path):
        seen[key] = hashlib.sha256(text.encode()).digest()
    print(orjson.dumps({"working_s": time.perf_counter() - started, "documents": len(seen)}).decode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
