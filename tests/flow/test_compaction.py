"""An embedded log stays small under endless edits, and complete: an index can be made anew from what is left of it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nvisy.topics.embedded import compaction
from tests.flow.pipeline import Pipeline, text

DOCUMENTS = [f"d{number:02}.txt" for number in range(12)]
SMALL_BYTES = 64 * 1024


@pytest.fixture
def edited(embedded: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """Many versions of some documents have passed; one is damaged, one is gone, and one came late."""
    monkeypatch.setattr(compaction, "SMALL_BYTES", SMALL_BYTES)
    embedded.write({"broken.pdf": b"%PDF-1.4 damaged", "gone.txt": "It goes."})
    for number in range(5):
        embedded.write({name: text(number * 100 + at, 40) for at, name in enumerate(DOCUMENTS)})
        embedded.run()
    (embedded.docs / "gone.txt").unlink()
    embedded.write({"late.txt": "It came late."})
    embedded.run()
    return embedded


def n_records(pipeline: Pipeline) -> int:
    log = pipeline.settings.open_log()
    try:
        return sum(1 for topic in log.topics() for _ in log.scan(topic))
    finally:
        log.close()


def test_topics_hold_little_more_than_the_latest_version_of_each_document(edited: Pipeline) -> None:
    n_topics, n_keys = 2, len(DOCUMENTS) + 3
    assert n_records(edited) <= n_topics * 3 * n_keys, "five versions were written, and then some"
    again = edited.run()
    assert (again.written, again.removed, again.model_calls) == (0, 0, 0)
    assert [letter.key for letter in edited.dead_letters()] == ["broken.pdf"]


def test_an_index_is_made_anew_from_what_compaction_left(edited: Pipeline) -> None:
    before = {hit.id: (hit.key, hit.text) for hit in edited.records()}
    (edited.settings.state / "index.db").unlink()
    shutil.rmtree(edited.settings.state / "known")  # what is known of the source stands in the log, too
    report = edited.run()
    assert {hit.id: (hit.key, hit.text) for hit in edited.records()} == before
    assert report.model_calls == 0
    assert {key for key, _ in before.values()} == {*DOCUMENTS, "late.txt"}


def test_a_dead_letter_is_still_open_and_closed_by_what_mends_it(edited: Pipeline) -> None:
    shutil.move(edited.docs / "broken.pdf", edited.folder / "broken.pdf")
    edited.run(allow_mass_delete=True)
    assert edited.dead_letters() == []


def test_a_run_that_is_killed_while_it_compacts_is_followed_by_one_that_finds_everything(
    embedded: Pipeline, tmp_path: Path
) -> None:
    (tmp_path / "dying.py").write_text(
        "import os, signal\n"
        "def reached(point, stage):\n"
        "    if point.name == 'CLAIMED':\n"
        "        from nvisy.topics.embedded import compaction\n"
        f"        compaction.SMALL_BYTES = {SMALL_BYTES}\n"
        "        compaction._STEP_ROWS = 5\n"
        "    if point.name == 'COMPACTED':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environ = {
        **embedded.environ,
        "NVISY_FAULT_POINTS": "dying:reached",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]),
    }
    command = [sys.executable, "-m", "nvisy", "run", str(embedded.save()), "--json"]
    code, number = 0, 0
    while code != -signal.SIGKILL:
        assert number < 5, "it never came to that"
        embedded.write({name: text(number * 100 + at, 40) for at, name in enumerate(DOCUMENTS)})
        done = subprocess.run(
            command, cwd=embedded.folder, env=environ, stdout=subprocess.DEVNULL, timeout=60, check=False
        )
        code, number = done.returncode, number + 1
    embedded.run()
    again = embedded.run()
    assert (again.written, again.removed, again.model_calls) == (0, 0, 0)
    assert embedded.keys() == set(DOCUMENTS)
    (embedded.settings.state / "index.db").unlink()
    assert embedded.run().model_calls == 0
    latest = {name: (embedded.docs / name).read_text() for name in DOCUMENTS}
    assert all(hit.text in latest[hit.key] for hit in embedded.records())
