"""`nvisy quickstart`: a folder with a graph and documents, and a tour of what happens to them."""

from __future__ import annotations

import os
import time
from importlib.metadata import version
from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer

from nvisy.cli.graphs import AsJson
from nvisy.cli.output import one_line, say, say_json
from nvisy.quickstart import Corpus, Step, Tour, documentation, lay_out, samples

_WIDTH = 100
_INDENT = " " * 15

Folder = Annotated[
    Path, typer.Argument(metavar="[FOLDER]", help="Where to write it; it must not hold anything yet.")
]
Demo = Annotated[
    bool,
    typer.Option(
        "--demo", help="Use the documentation of the source tree one stands in, not the sample texts."
    ),
]


def command(folder: Folder = Path("nvisy-quickstart"), demo: Demo = False, as_json: AsJson = False) -> None:
    """Show documents becoming an index that follows them: no server, no key, no network."""
    started = time.monotonic()
    corpus = documentation(Path.cwd()) if demo else samples()
    graph = lay_out(folder, corpus)
    if not as_json:
        _introduce(graph)
    steps = []
    for step in Tour(folder, corpus).steps():
        steps.append(step)
        if not as_json:
            _show(step)
    duration_s = round(time.monotonic() - started, 1)
    effective = all(step.effective for step in steps)
    if as_json:
        say_json(
            {
                "folder": str(folder),
                "effective": effective,
                "duration_s": duration_s,
                "steps": [step.as_json() for step in steps],
            }
        )
    elif effective:
        say(f"\nEvery step had its effect, in {duration_s} s.")
        if not demo:
            _suggest(folder, corpus)
    if not effective:
        failed = ", ".join(step.name for step in steps if not step.effective)
        typer.echo(
            f"nvisy: without its effect: {failed}; please report it, with what is written above", err=True
        )
        raise typer.Exit(1)


def _introduce(graph: Path) -> None:
    say(
        f"nvisy {version('nvisy')}   log: embedded   model: local/wordllama (bundled, no network)   sink: vector/sqlite"
    )
    say(f"{graph}:  files ─▶ text ─▶ chunk ─▶ embed ─▶ index\n")


def _show(step: Step) -> None:
    mark = "✓" if step.effective else "✗"
    head = f"{mark} {step.name}".ljust(len(_INDENT))
    say(fill(step.said, _WIDTH, initial_indent=head, subsequent_indent=_INDENT, break_on_hyphens=False))
    for hit in step.hits:
        say(f"{_INDENT}{hit.score:.2f}  {one_line(f'{hit.key}: {hit.text}', _WIDTH - len(_INDENT) - 6)}")


def _suggest(folder: Path, corpus: Corpus) -> None:
    question = "how are two versions told apart?"
    say(f"\nNext\n  cd {os.path.relpath(folder)}")
    for line in (
        f'nvisy search graph.json "{question}"',
        f"nvisy records graph.json --key {corpus.edited}",
        "nvisy dlq list graph.json",
        "nvisy explain graph.json",
        "nvisy run graph.json --follow      (then edit a file in documents/)",
    ):
        say(f"  {line}")
