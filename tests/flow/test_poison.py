"""Documents that end the process that reads them, or hang it: each goes to the dead letters, all others arrive."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.flow.pipeline import Pipeline, edges

STEPS = """
import os
import re
import signal
from collections.abc import Iterator

from nvisy.primitives import Chunk, Document, Span


def split(document: Document) -> Iterator[Chunk]:
    text = (document.content or b"").decode()
    if text.startswith("SEGV"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if text.startswith("EXIT"):
        os._exit(0)
    if text.startswith("LOOP"):
        while True:
            pass
    if text.startswith("REGEX"):  # in native code, which lets no other thread run
        re.match(r"(a+)+$", "a" * 64 + "b")
    yield Chunk(text=text, span=Span(0, len(text)))
"""


def prepare(pipeline: Pipeline) -> None:
    """files → split → embed → index."""
    embed = next(node for node in pipeline.graph["nodes"] if node["id"] == "embed")
    split = {
        "id": "split",
        "type": "action",
        "action": "python",
        "params": {"function": "poison_steps:split"},
    }
    files = pipeline.graph["nodes"][0]
    pipeline.graph["nodes"] = [files, split, embed, pipeline.sink("index")]
    pipeline.graph["edges"] = edges("files>split", "split>embed", "embed>index")
    (pipeline.folder / "poison_steps.py").write_text(STEPS)


def fill(pipeline: Pipeline, *bad: str, healthy: int) -> set[str]:
    """Poison spread among so many healthy documents, whose keys are returned."""
    keys = [f"{number:05}.txt" for number in range(healthy)]
    pipeline.write({key: f"healthy document {key}" for key in keys})
    for place, kind in enumerate(bad):
        where = (place + 1) * healthy // (len(bad) + 1)
        pipeline.write({f"{where:05}-{kind}.txt": f"{kind} {place}"})
    return set(keys)


@pytest.mark.timeout(400)
def test_what_crashes_its_process_is_quarantined_and_all_else_arrives(pipeline: Pipeline) -> None:
    prepare(pipeline)
    healthy = fill(pipeline, "SEGV", "EXIT", healthy=300)
    report = pipeline.run()
    assert report.state == "degraded"
    assert pipeline.keys() == healthy
    letters = {letter.key: letter for letter in pipeline.dead_letters()}
    assert sorted(letters) == ["00100-SEGV.txt", "00200-EXIT.txt"]
    assert {letter.kind for letter in letters.values()} == {"poison"}
    assert b"SEGV 0" in letters["00100-SEGV.txt"].original
    assert "SIGSEGV" in letters["00100-SEGV.txt"].message
    again = pipeline.run()
    assert (again.written, again.dead_letters, again.state) == (0, 2, "degraded")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["LOOP", "REGEX"])
def test_what_hangs_its_process_is_quarantined(embedded: Pipeline, kind: str) -> None:
    prepare(embedded)
    embedded.settings = replace(embedded.settings, hang_s=4.0)
    healthy = fill(embedded, kind, healthy=20)
    assert embedded.run().state == "degraded"
    assert embedded.keys() == healthy
    (letter,) = embedded.dead_letters()
    assert (letter.kind, letter.key) == ("poison", f"00010-{kind}.txt")
    assert "nothing moved" in letter.message


@pytest.mark.timeout(300)
def test_without_topics_a_file_is_quarantined_until_it_changes(embedded: Pipeline) -> None:
    prepare(embedded)
    embedded.graph["edges"] = edges("files>split=", "split>embed=", "embed>index=")
    healthy = fill(embedded, "SEGV", healthy=60)
    assert embedded.run().state == "degraded"
    assert embedded.keys() == healthy
    (letter,) = embedded.dead_letters()
    assert (letter.kind, letter.key) == ("poison", "00030-SEGV.txt")
    assert embedded.run().state == "degraded", "it is not tried again"
    embedded.write({"00030-SEGV.txt": "healed"})
    assert embedded.run().state == "completed"
    assert embedded.keys() == healthy | {"00030-SEGV.txt"}
