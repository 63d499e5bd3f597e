"""The steps of a quickstart: change something, run, and check in the index that exactly that moved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nvisy.connector.sink import Hit
from nvisy.graph.validate import check_file
from nvisy.query import records, search
from nvisy.quickstart.corpus import Corpus
from nvisy.quickstart.folder import documents_in
from nvisy.rebuilding.live import run
from nvisy.runtime import dead_letters
from nvisy.runtime.counters import Report
from nvisy.runtime.settings import Settings

DAMAGED = "damaged.pdf"
WRITTEN = "The quickstart wrote this paragraph, to show how little of an index moves with an edit."

Held = Mapping[str, Mapping[str, str]]
"""What an index holds: by key of the document, the texts by record id."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did, and whether it had its effect.

    Attributes:
        name: `load`, `edit`, `delete`, `dead letter` or `search`.
        said: One sentence for people.
        effective: Whether the report and the index both show what the step was to do, and nothing else.
        facts: The figures behind the sentence.
        hits: For a search, what it found.
    """

    name: str
    said: str
    effective: bool
    facts: Mapping[str, Any] = field(default_factory=dict)
    hits: tuple[Hit, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The step for machines."""
        hits = [{"score": hit.score, "key": hit.key, "text": hit.text} for hit in self.hits]
        found = {"hits": hits} if hits else {}
        return {"step": self.name, "said": self.said, "effective": self.effective, **self.facts, **found}


class Tour:
    """A walk through the life of an index, on the embedded log whatever `NVISY_LOG` says."""

    def __init__(self, folder: Path, corpus: Corpus) -> None:
        self._corpus = corpus
        self._documents = documents_in(folder)
        self._checked = check_file(folder / "graph.json")
        self._settings = Settings(folder.resolve() / ".nvisy")
        self._held: Held = {}

    def steps(self) -> Iterator[Step]:
        """Take the steps, one at a time. What `run` raises comes through."""
        yield self._load()
        yield self._edit(self._corpus.edited)
        yield self._delete(self._corpus.deleted)
        yield self._damage()
        yield self._search()

    def _load(self) -> Step:
        report, _, held = self._run()
        vectors = sum(map(len, held.values()))
        effective = (
            report.state == "completed"
            and held.keys() == self._corpus.documents.keys()
            and report.written == vectors
            and report.removed == report.unchanged == 0
        )
        said = f"{len(held)} documents became {vectors} vectors, in {report.duration_s:.1f} s"
        return Step("load", said, effective, _facts(report) | {"documents": len(held)})

    def _edit(self, key: str) -> Step:
        path = self._documents / key
        path.write_text(_edited(path.read_text(encoding="utf-8")), encoding="utf-8")
        report, before, held = self._run()
        new, gone = held[key].keys() - before[key].keys(), before[key].keys() - held[key].keys()
        effective = (
            report.state == "completed"
            and any(WRITTEN in text for text in held[key].values())
            and _others(held, key) == _others(before, key)
            and report.written == len(new)
            and report.removed == len(gone)
            and 0 < report.model_calls <= len(held[key])
        )
        said = (
            f"{key} was edited: only its chunks re-embedded ({_count(report.model_calls, 'text')}): "
            f"{_count(report.written, 'vector')} written, {report.removed} removed, {report.unchanged} unchanged; "
            f"the other {len(held) - 1} documents untouched"
        )
        return Step("edit", said, effective, _facts(report) | {"key": key})

    def _delete(self, key: str) -> Step:
        (self._documents / key).unlink()
        report, before, held = self._run()
        effective = (
            report.state == "completed"
            and key not in held
            and held == _others(before, key)
            and report.removed == len(before[key]) > 0
            and report.written == report.model_calls == 0
        )
        said = (
            f"{key} was deleted: its {_count(report.removed, 'vector')} removed, without a call to the model"
        )
        return Step("delete", said, effective, _facts(report) | {"key": key})

    def _damage(self) -> Step:
        (self._documents / DAMAGED).write_bytes(b"%PDF-1.7\nthe rest of this file was lost\n")
        report, before, held = self._run()
        with closing(self._settings.open_log()) as log:
            letters = list(dead_letters.open_entries(log, report.graph))
        effective = (
            report.state == "degraded"
            and report.dead_letters == 1
            and [letter.key for letter in letters] == [DAMAGED]
            and held == before
            and report.written == report.removed == report.model_calls == 0
        )
        cause = "; ".join(f"node {letter.node}, {letter.kind}: {letter.message}" for letter in letters)
        said = (
            f"{DAMAGED} was added: a dead letter ({cause or 'none'}); {len(held)} documents stay searchable"
        )
        return Step("dead letter", said, effective, _facts(report) | {"key": DAMAGED})

    def _search(self) -> Step:
        question = self._corpus.question
        hits = tuple(search(self._checked, question, k=3, settings=self._settings))
        effective = bool(hits) and hits[0].key in self._corpus.answers
        return Step("search", f'"{question}"', effective, {"question": question}, hits)

    def _run(self) -> tuple[Report, Held, Held]:
        """Run the graph once: its report, and what the index held before and holds now."""
        before = self._held
        report = run(self._checked, settings=self._settings)
        held: dict[str, dict[str, str]] = {}
        for hit in records(self._checked, settings=self._settings):
            held.setdefault(hit.key, {})[hit.id] = hit.text
        self._held = held
        return report, before, held


def _edited(text: str) -> str:
    """`text` with one more paragraph in its middle."""
    paragraphs = text.split("\n\n")
    paragraphs.insert((len(paragraphs) + 1) // 2, WRITTEN)
    return "\n\n".join(paragraphs)


def _others(held: Held, key: str) -> Held:
    return {other: texts for other, texts in held.items() if other != key}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _facts(report: Report) -> dict[str, Any]:
    names = ("state", "written", "removed", "unchanged", "model_calls", "dead_letters", "duration_s")
    return {name: getattr(report, name) for name in names}
