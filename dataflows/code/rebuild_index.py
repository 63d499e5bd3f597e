"""Another embedding model under a live index, and a reader that does not notice: `make rebuild`.

Follows the documentation with the graph `rebuild_index.json`, edits it all the time, and asks one question after the
other. Then the model in the graph is changed, and `nvisy rebuild` gives readers an index of the new one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beside import ROOT, environ, following, wait_for

sys.path.insert(0, str(ROOT))

from nvisy.errors import NvisyError
from nvisy.graph.model import Graph
from nvisy.query import records, search
from nvisy.runtime.settings import Settings

QUESTION = "my machine lost power halfway, is my index damaged now?"
MODEL = "local/wordllama"


class Reader:
    """Asks all the time, with the graph as it was when that began.

    Attributes:
        answers: How many answers there were, by the model that their vectors are of.
        wrong: What was wrong with the others: errors, nothing found, records of two models.
    """

    def __init__(self, graph: Graph, settings: Settings) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._graph = graph
        self._settings = settings
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(0.01):
            try:
                models = {
                    hit.lineage["model"] for hit in search(self._graph, QUESTION, settings=self._settings)
                }
            except Exception as error:
                self.wrong.append(str(error))
                continue
            if len(models) == 1:
                self.answers[models.pop()] += 1
            else:
                self.wrong.append(f"an answer of {sorted(models)}")


def main() -> None:
    """Show it, in a folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="nvisy-rebuild-"))
    try:
        sys.exit(show(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def show(folder: Path) -> int:
    """Everything that is to be seen; the exit code says whether the reader noticed anything."""
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.svg"))
    path = folder / "dataflows" / "rebuild_index.json"
    path.parent.mkdir()
    shutil.copy(ROOT / "dataflows" / path.name, path)
    settings, graph = Settings(folder / "state", None), Graph.load(path)
    n_documents = len(list((folder / "docs").rglob("*.md")))
    print(f"{n_documents} documents are indexed with local/hash, and followed …")
    with following(path, settings.state):
        wait_for(lambda: len(keys(graph, settings)) == n_documents)
        with editing(folder / "docs"), Reader(graph, settings) as reader:
            wait_for(lambda: reader.answers.total() > 10)
            best(graph, settings)
            print(f"\nthe model in the graph is changed to {MODEL}; the run and the reader go on\n")
            value = json.loads(path.read_text())
            value["nodes"][3]["params"] = {"model": MODEL}
            path.write_text(json.dumps(value))
            command(path, settings.state, "rebuild", "--dry-run")
            command(path, settings.state, "rebuild")
            seen = reader.answers.total()
            wait_for(lambda: reader.answers.total() > seen + 10)
            best(graph, settings)
        command(path, settings.state, "verify")
        command(path, settings.state, "rebuild", "--finish")
    answers = ", ".join(f"{count:,} from the index of {model}" for model, count in reader.answers.items())
    print(
        f"\nthe reader asked all the time: {answers}; {len(reader.wrong)} errors, or answers of both, or of neither"
    )
    for wrong in reader.wrong[:5]:
        print(f"  {wrong}")
    return int(bool(reader.wrong) or len(reader.answers) != 2)


def command(graph: Path, state: Path, name: str, *options: str) -> None:
    """Print a command, and run it."""
    print(f"$ nvisy {' '.join([name, graph.name, *options])}", flush=True)
    words = [sys.executable, "-m", "nvisy", name, str(graph), *options]
    subprocess.run(words, env=environ(state), cwd=graph.parent, check=True)  # noqa: S603 - ours


@contextmanager
def editing(docs: Path) -> Iterator[None]:
    """Add a line to one document after the other."""
    ended = threading.Event()

    def edit() -> None:
        paths, count = sorted(docs.rglob("*.md")), 0
        while not ended.wait(0.2):
            path = paths[count % len(paths)]
            path.write_text(f"{path.read_text()}\nA note, the {count}th.\n")
            count += 1

    thread = threading.Thread(target=edit)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def keys(graph: Graph, settings: Settings) -> set[str]:
    """The documents in the index; none before it was made."""
    try:
        return {hit.key for hit in records(graph, settings=settings)}
    except NvisyError:
        return set()


def best(graph: Graph, settings: Settings) -> None:
    """Ask, and print what is found first."""
    print(f"\n  {QUESTION}")
    for hit in search(graph, QUESTION, 2, settings=settings):
        print(f"  {hit.score:6.3f}  {hit.key}  {' '.join(hit.text.split())[:70]}")


if __name__ == "__main__":
    main()
