"""Killed anywhere, and run again: the same index."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.flow.pipeline import Pipeline, stages, text

DOCUMENTS = {f"{seed}.md": text(seed, paragraphs=6) for seed in range(400)}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By key: the passages that an undisturbed run leaves."""
    calm = Pipeline(tmp_path_factory.mktemp("calm"), "calm", None)
    calm.write(DOCUMENTS)
    calm.run()
    return passages(calm)


def passages(pipeline: Pipeline) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for hit in pipeline.records():
        found.setdefault(hit.key, []).append(hit.text)
    return {key: sorted(texts) for key, texts in found.items()}


def wait_for_stages(run: int, deadline_s: float = 60.0) -> None:
    until = time.monotonic() + deadline_s
    while not stages(run):
        assert time.monotonic() < until, "the run did not begin"
        time.sleep(0.05)


@pytest.mark.parametrize("victim", ["stage", "parent", "all"])
def test_killed_in_the_middle_and_run_again_gives_the_same_set(
    pipeline: Pipeline, victim: str, truth: dict[str, list[str]]
) -> None:
    rng = random.Random(victim)
    pipeline.write(DOCUMENTS)
    process = pipeline.start()
    wait_for_stages(process.pid)
    time.sleep(0.6 * rng.random())
    children = psutil.Process(process.pid).children(recursive=True)
    if victim == "stage":
        stages(process.pid)[-1].kill()  # the last one works for as long as the run does
    else:
        if victim == "all":
            for child in children:
                child.kill()
        process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive, "stages outlived their parent"
    assert pipeline.run().state == "completed"
    assert passages(pipeline) == truth


def test_stages_end_within_a_second_of_their_parent(embedded: Pipeline) -> None:
    embedded.write(DOCUMENTS)
    process = embedded.start("--follow")
    wait_for_stages(process.pid)
    time.sleep(1.0)
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


def test_sigterm_drains_and_ends_well(pipeline: Pipeline) -> None:
    pipeline.write(DOCUMENTS)
    process = pipeline.start("--follow")
    until = time.monotonic() + 40
    while time.monotonic() < until and len(index_of(pipeline)) < 50:
        time.sleep(0.2)
    process.terminate()
    out, err = process.communicate(timeout=40)
    assert process.returncode == 0, err.decode()
    assert b'"state":"completed"' in out


def index_of(pipeline: Pipeline) -> set[str]:
    if not (pipeline.folder / ".nvisy" / "index.db").exists():
        return set()
    try:
        return pipeline.keys()
    except Exception:  # the index is being made
        return set()


def test_following_picks_up_new_changed_and_deleted_files(pipeline: Pipeline) -> None:
    pipeline.write({"a.md": "first text", "b.md": "second text"})
    process = pipeline.start("--follow")
    try:
        await_keys(pipeline, {"a.md", "b.md"})
        pipeline.write({"c.md": "third text", "a.md": "first text, changed"})
        Path(pipeline.docs / "b.md").unlink()
        await_keys(pipeline, {"a.md", "c.md"})
        assert [hit.text for hit in pipeline.records(key="a.md")] == ["first text, changed"]
    finally:
        process.terminate()
        process.communicate(timeout=40)


def await_keys(pipeline: Pipeline, keys: set[str], deadline_s: float = 40.0) -> None:
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        if index_of(pipeline) == keys:
            return
        time.sleep(0.2)
    raise AssertionError(f"the index holds {index_of(pipeline)}, not {keys}")


@pytest.mark.kafka
@pytest.mark.parametrize("index_too", [True, False])
def test_a_lost_disk_loses_nothing_on_kafka(
    tmp_path: Path, unique_name: str, kafka_url: str, index_too: bool
) -> None:
    pipeline = Pipeline(tmp_path, unique_name, kafka_url)
    if not index_too:
        pipeline.graph["nodes"][-1]["params"]["path"] = "index.db"
    pipeline.write({f"{seed}.md": text(seed) for seed in range(50)})
    pipeline.run()
    before = pipeline.ids()
    (pipeline.docs / "7.md").unlink()
    shutil.rmtree(pipeline.folder / ".nvisy")
    report = pipeline.run()
    assert report.state == "completed"
    gone = {record for record in before if record not in pipeline.ids()}
    assert gone
    assert pipeline.ids() == before - gone
    assert report.nodes["text"]["in"] == 0, "nothing was read again from the source"
