"""`python -m bench.rebuilding_live [RECORDS] [CHANGES_PER_S]`: another model under a live index; 100,000 and 500.

Documents of five records each are indexed, and followed by `nvisy run --follow`. Documents are edited all the time, at
so many records a second, and a reader asks one question after the other. Then the vectors get other dimensions, and
`nvisy rebuild` is called. Every answer has to be of one index or the other, and whole; afterwards `verify` has to find
nothing. Printed is what became of the reader, how long the rebuild took, and how old an edit was at most before a
search found it, before the rebuild and while it went on.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nvisy
from bench.verifying import GRAPH, PER_DOCUMENT
from bench.verifying import nvisy as command
from nvisy.errors import NvisyError
from nvisy.graph.model import Graph
from nvisy.runtime.settings import Settings

PATIENCE_S = 3_600.0
QUESTION = "what was changed last, and where does it stand now?"
WATCHED = "watched.md"


class Seen:
    """What a reader found out.

    Attributes:
        answers: By the configuration of the model that all records of an answer come from.
        wrong: Errors, empty answers, answers of both indexes.
        age_s: How old what was found of the watched document was at most, since the last time that was asked.
    """

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.age_s = 0.0

    def take_age_s(self) -> float:
        """The age, and begin anew."""
        age_s, self.age_s = self.age_s, 0.0
        return age_s


def main() -> int:
    """Do it, and print the table."""
    records, per_s = [int(word) for word in sys.argv[1:]] + [100_000, 500][len(sys.argv) - 1 :]
    with tempfile.TemporaryDirectory(dir=os.environ.get("NVISY_BENCH_FOLDER")) as folder:
        print(measured(Path(folder), records // PER_DOCUMENT, per_s / PER_DOCUMENT))
    return 0


def measured(folder: Path, n_documents: int, per_s: float) -> str:
    """The table: one row for each thing that was measured."""
    docs, path, settings = folder / "docs", folder / "graph.json", Settings(folder / ".nvisy")
    value: dict[str, Any] = json.loads(json.dumps(GRAPH))
    value["nodes"][2]["params"] = {"size": 200}
    path.write_text(json.dumps(value))
    for number in range(n_documents):
        write(docs, number, 0)
    (docs / WATCHED).write_text(str(time.time()))
    assert command(folder, "run").code == 0
    graph, seen = Graph.load(path), Seen()
    with (
        following(folder),
        doing(lambda ended: edit(docs, n_documents, per_s, ended)),
        doing(lambda ended: ask(graph, settings, seen, ended)),
    ):
        wait_for(lambda: seen.answers.total() > 20)
        before_s = seen.take_age_s()
        value["nodes"][3]["params"]["dimensions"] = 192
        path.write_text(json.dumps(value))
        began = time.monotonic()
        report = nvisy.rebuild(Graph.load(path), settings=settings)
        took_s, count = time.monotonic() - began, seen.answers.total()
        wait_for(lambda: seen.answers.total() > count + 20)
        during_s = seen.take_age_s()
    assert (report.state, report.generation) == ("served", 2), report
    assert command(folder, "run").code == 0
    assert command(folder, "verify").code == 0
    former, latter = seen.answers.values()
    return "\n".join(
        [
            "| | |",
            "|---|---|",
            f"| records, and changes a second | {n_documents * PER_DOCUMENT:,}, {per_s * PER_DOCUMENT:,.0f} |",
            f"| answers of the former index, and of the new one | {former:,}, {latter:,} |",
            f"| errors, empty answers, answers of both | {len(seen.wrong)} {seen.wrong[:3] or ''} |",
            f"| the rebuild took, s | {took_s:.0f} |",
            f"| oldest answer before it, and until it was over, s | {before_s:.1f}, {during_s:.1f} |",
            "| verify afterwards | in order |",
        ]
    )


def write(docs: Path, number: int, version: int) -> None:
    """A version of a document."""
    path = docs / f"{number % 97:02}" / f"{number:06}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    said = f"passage of document {number}, version {version}: " + "what is said of it, here and there " * 4
    path.write_text("\n\n".join(f"{place}. {said[:180]}" for place in range(PER_DOCUMENT)))


def edit(docs: Path, n_documents: int, per_s: float, ended: threading.Event) -> None:
    """Edit so many documents a second, and write into one of them what time it is."""
    began = time.monotonic()
    for count in itertools.count(1):
        if ended.wait(max(0.0, began + count / per_s - time.monotonic())):
            return
        write(docs, count % n_documents, count)
        if count % max(1, int(per_s)) == 0:
            (docs / WATCHED).write_text(str(time.time()))


def ask(graph: Graph, settings: Settings, seen: Seen, ended: threading.Event) -> None:
    """Ask all the time, with the graph as it was in the beginning."""
    while not ended.wait(0.01):
        try:
            hits = nvisy.search(graph, QUESTION, 10, settings=settings)
            watched = [hit.text for hit in nvisy.records(graph, WATCHED, settings=settings)]
        except Exception as error:
            seen.wrong.append(str(error))
            continue
        models = {str(hit.lineage["steps"]).rpartition("embed@")[2][:8] for hit in hits}
        if len(models) != 1 or len(watched) != 1:
            seen.wrong.append(f"an answer of {len(models)} indexes, {len(watched)} of the watched document")
            continue
        seen.answers[models.pop()] += 1
        seen.age_s = max(seen.age_s, time.time() - float(watched[0]))


@contextmanager
def following(folder: Path) -> Iterator[None]:
    """`nvisy run --follow` beside this program."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NVISY_")}
    words = [sys.executable, "-m", "nvisy", "run", "graph.json", "--follow"]
    with (folder / "run.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=folder, env=environ, stdout=log, stderr=log)
        try:
            yield
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_S)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@contextmanager
def doing(function: Callable[[threading.Event], None]) -> Iterator[None]:
    """Call a function in a thread of its own, until the end."""
    ended = threading.Event()
    thread = threading.Thread(target=function, args=(ended,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with suppress(NvisyError):
            if condition():
                return
        time.sleep(0.05)
    raise TimeoutError("it never came to that")


if __name__ == "__main__":
    raise SystemExit(main())
