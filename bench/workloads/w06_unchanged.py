"""W6 and W7: 200,000 documents again, first none of them changed, then 1 %.

For W6 the file gets another blank line, so that nothing but comparing every document shows that none has changed: a
file that is the same to the byte is passed over as a whole, which is a row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import documents, graphs
from bench.harness import Done, baseline, nvisy, run_child
from bench.rows import Row
from bench.world import World

DOCUMENTS, SMOKE = 200_000, 400
SHARE = 100


def run(world: World) -> Iterator[Row]:
    """One first run, and then pair by pair on what it left."""
    count = world.size(DOCUMENTS, SMOKE)
    with ExitStack() as stack:
        corpus = Corpus(stack.enter_context(world.scratch()), stack.enter_context(world.database()), count)
        first = corpus.run()
        assert first.report["model_calls"] == first.report["written"] > 0
        untouched, unchanged, changed, hashed = [], [], [], []
        for turn in range(world.repeats):
            untouched.append(corpus.idle())
            corpus.append_blank_line()
            hashed.append(corpus.hashed())
            unchanged.append(corpus.idle())
            corpus.change(turn + 1)
            changed.append(corpus.run())
            calls = changed[-1].report["model_calls"]
            assert 0 < calls <= first.report["model_calls"] / SHARE * 2, (
                f"1 % of the documents took {calls} calls"
            )
    facts: dict[str, Any] = {
        "documents": count,
        "memory_mb": round(median(one.peak_mb for one in unchanged), 1),
    }
    rates = [count / one.working_s for one in hashed]
    yield Row(
        workload="W6",
        what="nothing changed, every document compared",
        unit="documents/s",
        against="read and hash every document",
        bar=0.25,
        ours=[count / one.working_s for one in unchanged],
        baselines=rates,
        facts=facts,
    )
    yield Row(
        workload="W6 untouched",
        what="nothing changed, not even the file",
        unit="documents/s",
        against="read and hash every document",
        bar=0.25,
        ours=[count / one.working_s for one in untouched],
        baselines=rates,
        facts={"documents": count},
    )
    yield Row(
        workload="W7",
        what="1 % changed, spread over the file",
        unit="s",
        against="W6, and 1 % of the first run",
        bar=1.3,
        at_least=False,
        ours=[one.working_s for one in changed],
        baselines=[one.working_s + first.working_s / SHARE for one in unchanged],
        facts={"documents": count, "first_run_s": round(first.working_s, 1)},
    )


class Corpus:
    """A file of documents, and the graph that follows it."""

    def __init__(self, folder: Path, dsn: str, count: int) -> None:
        self._folder = folder
        self._count = count
        self._file = folder / "documents.jsonl"
        documents.write(self._file, count)
        graphs.write(folder, "w6", [graphs.files(self._file), *graphs.steps(), graphs.pgvector(dsn)])

    def run(self) -> Done:
        """One more run."""
        return run_child(nvisy("run", "graph.json", "--json"), self._folder)

    def idle(self) -> Done:
        """One more run, in which there is nothing to do."""
        done = self.run()
        report = done.report
        assert report["model_calls"] == report["written"] == report["removed"] == 0, report
        return done

    def hashed(self) -> Done:
        """The baseline."""
        return run_child(baseline("hashing", str(self._file)), self._folder)

    def append_blank_line(self) -> None:
        """Make it another file with the same documents."""
        with self._file.open("ab") as file:
            file.write(b"\n")

    def change(self, turn: int) -> None:
        """Give one document in a hundred, others every time, a second edition; the blank lines go."""
        documents.write(self._file, self._count, edition=lambda number: int(number % SHARE < turn))
