"""Writing the folder of a quickstart: a graph, its schema, the documents and what to do next."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from nvisy.catalog import Catalog
from nvisy.errors import UsageError
from nvisy.graph.json_schema import schema_text
from nvisy.quickstart.corpus import Corpus

_TEMPLATES = {"graph.json": "graph.json", "README.md": "README.md", "env.example": ".env.example"}


def lay_out(folder: Path, corpus: Corpus) -> Path:
    """Write everything into `folder`, which is made if need be. Returns the graph file.

    Raises:
        UsageError: There is something in the folder already, or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty; name another folder, or remove it first")
        for name, target in _TEMPLATES.items():
            (folder / target).write_bytes((files("nvisy.quickstart") / "template" / name).read_bytes())
        (folder / "graph.schema.json").write_text(schema_text(Catalog.installed()), encoding="utf-8")
        for key, content in corpus.documents.items():
            path = documents_in(folder) / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder / "graph.json"


def documents_in(folder: Path) -> Path:
    """Where the documents lie."""
    return folder / "documents"
