"""A corpus of real files, run through on both logs: what each run wrote, called and took.

`python -m bench.corpus FOLDER [--log kafka://host:port] [--model local/wordllama] [--limit N]`

The corpus is copied; then it runs once, runs again unchanged, and runs after 1 % of the files were changed and another
1 % deleted. On both logs the ids must be the same, and only what moved may be written. Exits 1 when that does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUFFIXES = {".md", ".txt", ".html", ".htm", ".pdf", ".gz", ".rst", ""}


def main() -> int:
    """Run the corpus, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--log", help="kafka://host:port of a broker to run on as well")
    parser.add_argument("--model", default="local/hash")
    parser.add_argument("--limit", type=int, default=4000, help="files at most")
    options = parser.parse_args()
    logs = {"embedded": None, **({"kafka": options.log} if options.log else {})}
    ids = {}
    sound = True
    print(
        "| log | run | state | in | written | removed | unchanged | model calls | dead letters | s | files/s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for name, url in logs.items():
            folder = Path(scratch) / name
            count = gather(options.folder, folder / "docs", options.limit)
            corpus = Corpus(folder, f"corpus-{name}-{os.getpid()}", url, options.model)
            sound &= corpus.prove(name, count)
            ids[name] = corpus.ids()
    same = len({frozenset(one) for one in ids.values()}) == 1
    print(
        f"\nids {'agree' if same else 'DIFFER'}: {', '.join(f'{name} {len(one)}' for name, one in ids.items())}"
    )
    return 0 if same and sound else 1


class Corpus:
    """A graph over a copy of the corpus."""

    def __init__(self, folder: Path, name: str, log_url: str | None, model: str) -> None:
        self.folder = folder
        environ = {key: value for key, value in os.environ.items() if not key.startswith("NVISY_")}
        # What does not fit into a message of a broker goes into a folder, as it does beside the embedded log.
        broker = {"NVISY_LOG": log_url, "NVISY_BLOBS": str(folder / "blobs")} if log_url else {}
        (folder / "blobs").mkdir()
        self.environ = {**environ, **broker}
        nodes = [
            {"id": "files", "type": "source", "provider": "object/files", "params": {"path": "docs"}},
            {"id": "text", "type": "action", "action": "extract"},
            {"id": "chunk", "type": "action", "action": "chunk", "params": {"size": 400}},
            {"id": "embed", "type": "action", "action": "embed", "params": {"model": model}},
            {
                "id": "index",
                "type": "sink",
                "provider": "vector/sqlite",
                "params": {"path": "index.db", "collection": "docs"},
            },
        ]
        ways = [("files", "text"), ("text", "chunk"), ("chunk", "embed"), ("embed", "index")]
        graph = {
            "id": "corpus",
            "name": name,
            "nodes": nodes,
            "edges": [{"from": origin, "to": to} for origin, to in ways],
        }
        (folder / "graph.json").write_text(json.dumps(graph))

    def prove(self, log: str, count: int) -> bool:
        """The four runs. Returns whether only what moved was written."""
        first = self.run(log, "first", count)
        second = self.run(log, "again", count)
        sound = second["written"] == second["removed"] == second["model_calls"] == 0
        rng = random.Random(1)
        files = sorted(path for path in (self.folder / "docs").rglob("*") if path.is_file())
        texts = [path for path in files if path.suffix in {".txt", ".md", ".html", ".rst", ".htm"}]
        changed = rng.sample(texts, max(1, count // 100))
        for path in changed:
            path.write_bytes(path.read_bytes() + b"\n\nOne more paragraph, that nobody wrote before.\n")
        third = self.run(log, "1 % changed", count)
        gone = rng.sample([path for path in files if path not in changed], max(1, count // 100))
        for path in gone:
            path.unlink()
        fourth = self.run(log, "1 % deleted", count)
        moved = {node: counts["in"] for node, counts in third["nodes"].items()}
        sound &= moved["text"] == len(changed) and fourth["written"] == 0
        sound &= 0 < third["written"] < first["written"] / 10
        return bool(sound)

    def run(self, log: str, name: str, count: int) -> dict[str, Any]:
        """One run; prints its row."""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "nvisy", "run", "graph.json", "--json"],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        took_s = time.monotonic() - started
        if done.returncode not in (0, 4):
            raise SystemExit(f"{log}, {name}: exit code {done.returncode}\n{done.stderr[-3000:]}")
        report: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        figures = [report[key] for key in ("written", "removed", "unchanged", "model_calls", "dead_letters")]
        row = [
            log,
            name,
            report["state"],
            report["nodes"]["files"]["in"],
            *figures,
            f"{took_s:.1f}",
            int(count / took_s),
        ]
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
        return report

    def ids(self) -> set[str]:
        """Ids of everything in the index."""
        done = subprocess.run(
            [sys.executable, "-m", "nvisy", "records", "graph.json", "--json"],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            check=True,
        )
        return {json.loads(line)["id"] for line in done.stdout.splitlines()}


def gather(origin: Path, target: Path, limit: int) -> int:
    """Copy up to `limit` files of kinds that `extract` reads, at most 2 MB each, under names that are unique."""
    target.mkdir(parents=True)
    count = 0
    for path in candidates(origin):
        relative = path.relative_to(origin)
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        count += 1
        if count == limit:
            break
    return count


def candidates(origin: Path) -> Iterator[Path]:
    """Regular files of the right kinds, in a fixed order."""
    for path in sorted(origin.rglob("*")):
        wanted = path.suffix.lower() in SUFFIXES and not path.is_symlink() and path.is_file()
        if wanted and 0 < path.stat().st_size < 2_000_000:
            yield path


if __name__ == "__main__":
    sys.exit(main())
