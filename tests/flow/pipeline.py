"""A small pipeline in a folder of its own, run as a user would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from nvisy.catalog import Catalog
from nvisy.connector.sink import Hit
from nvisy.graph.model import Graph
from nvisy.graph.validate import check
from nvisy.runtime.counters import Report
from nvisy.runtime.run import Run
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import open_sink


class Pipeline:
    """Documents, a graph and an index below one folder; on the embedded log, or on a broker."""

    def __init__(self, folder: Path, name: str, log_url: str | None) -> None:
        self.folder = folder
        self.name = name
        self.docs = folder / "docs"
        self.docs.mkdir(parents=True, exist_ok=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("NVISY_")}
        self.environ = {**environ, **({"NVISY_LOG": log_url} if log_url else {})}
        self.settings = Settings.from_environ(self.environ, folder)
        self.graph: dict[str, Any] = self.chain()

    def chain(self, **embed: Any) -> dict[str, Any]:
        """files → extract → chunk → embed → sqlite."""
        return {
            "name": self.name,
            "nodes": [
                {"id": "files", "type": "source", "provider": "object/files", "params": {"path": "docs"}},
                {"id": "text", "type": "action", "action": "extract"},
                {"id": "chunk", "type": "action", "action": "chunk", "params": {"size": 200}},
                {
                    "id": "embed",
                    "type": "action",
                    "action": "embed",
                    "params": {"model": "local/hash", "dimensions": 64, **embed},
                },
                self.sink("index"),
            ],
            "edges": edges("files>text", "text>chunk", "chunk>embed", "embed>index"),
        }

    def sink(self, node: str) -> dict[str, Any]:
        """An SQLite collection named like its node."""
        return {
            "id": node,
            "type": "sink",
            "provider": "vector/sqlite",
            "params": {"path": ".nvisy/index.db", "collection": node},
        }

    def write(self, documents: Mapping[str, str | bytes]) -> None:
        """Put documents into the source's folder."""
        for key, content in documents.items():
            path = self.docs / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def run(self, **options: Any) -> Report:
        """Run the graph to its end."""
        return self._prepared(**options).start()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Run the graph in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "tests.flow.runner", str(self.save()), *arguments],
            cwd=self.folder,
            env={**self.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def save(self) -> Path:
        """The graph as a file."""
        path = self.folder / "graph.json"
        path.write_text(json.dumps(self.graph))
        return path

    def records(self, sink: str = "index", key: str | None = None) -> list[Hit]:
        """Everything in a collection."""
        checked = check(Graph.load(self.save()), Catalog.installed(), self.environ)
        _, opened = open_sink(checked, sink, self.settings.state)
        index = opened.index()
        try:
            return list(index.records(key))
        finally:
            index.close()

    def ids(self, sink: str = "index") -> set[str]:
        """Ids of everything in a collection."""
        return {hit.id for hit in self.records(sink)}

    def keys(self, sink: str = "index") -> set[str]:
        """Keys of everything in a collection."""
        return {hit.key for hit in self.records(sink)}

    def dead_letters(self) -> list[Any]:
        """Open dead letters."""
        from nvisy.runtime import dead_letters

        log = self.settings.open_log()
        try:
            return list(dead_letters.open_entries(log, self.name))
        finally:
            log.close()

    def _prepared(self, **options: Any) -> Run:
        checked = check(Graph.load(self.save()), Catalog.installed(), self.environ)
        return Run(checked, settings=self.settings, **options)


def stages(run: int) -> list[psutil.Process]:
    """The stage processes below the process of a run, in the order in which they were started."""
    return [stage for server in psutil.Process(run).children() for stage in server.children()]


def edges(*ways: str) -> list[dict[str, Any]]:
    """`a>b`, `a:port>b`, `a>b=topic`, `a>b=` (no topic)."""
    parsed = []
    for way in ways:
        arrow, has_topic, topic = way.partition("=")
        origin, _, to = arrow.partition(">")
        node, _, port = origin.partition(":")
        edge: dict[str, Any] = {"from": node, "to": to}
        if port:
            edge["port"] = port
        if has_topic:
            edge["topic"] = topic or False
        parsed.append(edge)
    return parsed


def text(seed: int, paragraphs: int = 4) -> str:
    """A document of a few paragraphs, the same for the same seed."""
    words = ["river", "stone", "cloud", "engine", "garden", "letter", "market", "silver", "thunder", "window"]
    lines = [f"Document {seed}"]
    for paragraph in range(paragraphs):
        chosen = [
            words[(seed * 7 + paragraph * 3 + position * position) % len(words)] for position in range(18)
        ]
        lines.append(f"Paragraph {paragraph} of {seed}: {' '.join(chosen)}.")
    return "\n\n".join(lines) + "\n"
