"""An index is built anew while its graph is being run, documents change, and somebody asks it all the time."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import nvisy
from nvisy.runtime.generations import Generations, generations_of
from tests.flow.pipeline import Pipeline, text
from tests.flow.test_rebuild import change_model, checked, verified

N_DOCUMENTS = 30


@pytest.mark.timeout(600)
def test_readers_notice_nothing_and_the_run_goes_on_under_the_new_graph(pipeline: Pipeline) -> None:
    """Every answer is of one index or of the other, whole; changes of before, meanwhile and after are in it."""
    pipeline.write({f"{n}.md": text(n) for n in range(N_DOCUMENTS)})
    owner = pipeline.start("--follow")
    try:
        until(lambda: len(pipeline.keys()) == N_DOCUMENTS)
        with asking(pipeline) as answers, changing(pipeline):
            until(lambda: len(answers) > 3)
            change_model(pipeline)
            command = started(pipeline, "rebuild")
            until(lambda: noted(pipeline).target == 2)
            command.kill()
            command.communicate()
            report = nvisy.rebuild(checked(pipeline), settings=pipeline.settings)
            assert (report.state, report.generation, report.kept) == ("served", 2, 1)
            count = len(answers)
            until(lambda: len(answers) > count + 3)
        assert owner.poll() is None
        assert [one for one in answers if isinstance(one, BaseException)] == []
        assert all(len(one) == 1 for one in answers), "an answer of both, or of none"
        assert len({name for one in answers for name in one}) == 2
        pipeline.write({"last.md": text(500)})
        until(lambda: {"last.md"} <= pipeline.keys())
        assert verified(pipeline)
    finally:
        owner.send_signal(signal.SIGTERM)
        _, said = owner.communicate(timeout=60)
    assert owner.returncode == 0, said
    assert pipeline.run().written == 0
    report = nvisy.rollback(checked(pipeline), settings=pipeline.settings)
    assert (report.state, report.generation) == ("served", 1)
    assert {"last.md"} <= pipeline.keys()


@pytest.mark.timeout(600)
def test_an_owner_that_dies_over_it_goes_on_with_it(embedded: Pipeline) -> None:
    """Started again with the file as it is by now: it serves the former index until the new one is whole."""
    embedded.write({f"{n}.md": text(n) for n in range(N_DOCUMENTS)})
    owner = embedded.start("--follow")
    try:
        until(lambda: len(embedded.keys()) == N_DOCUMENTS)
        change_model(embedded)
        command = started(embedded, "rebuild", "--json")
        until(lambda: noted(embedded).target == 2)
        owner.kill()
        owner.communicate()
        owner = embedded.start("--follow")
        said, _ = command.communicate(timeout=200)
        assert command.returncode == 0
        assert b'"state": "served"' in said
        assert noted(embedded).current == 2
        assert verified(embedded)
    finally:
        owner.send_signal(signal.SIGTERM)
        owner.communicate(timeout=60)


@contextmanager
def asking(pipeline: Pipeline) -> Iterator[list[BaseException | set[str]]]:
    """Ask one question all the time, with the graph as it is when that begins.

    Each answer stands for the configurations of the model that its records come from.
    """
    answers: list[BaseException | set[str]] = []
    graph, ended = checked(pipeline), threading.Event()

    def ask() -> None:
        while not ended.wait(0.02):
            try:
                hits = nvisy.search(graph, "silver garden", k=10, settings=pipeline.settings)
            except BaseException as error:
                answers.append(error)
            else:
                answers.append({str(hit.lineage["steps"]).rpartition("embed@")[2][:8] for hit in hits})

    with running(ask, ended):
        yield answers


@contextmanager
def changing(pipeline: Pipeline) -> Iterator[None]:
    """Change documents all the time."""
    ended = threading.Event()

    def change() -> None:
        count = 0
        while not ended.wait(0.05):
            pipeline.write({f"{count % N_DOCUMENTS}.md": text(count + 40)})
            count += 1

    with running(change, ended):
        yield


@contextmanager
def running(function: Callable[[], None], ended: threading.Event) -> Iterator[None]:
    """Run a function in a thread until the end."""
    thread = threading.Thread(target=function)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def started(pipeline: Pipeline, *words: str) -> subprocess.Popen[bytes]:
    """A command in a process of its own."""
    (name, *options) = words
    return subprocess.Popen(
        [sys.executable, "-m", "nvisy", name, str(pipeline.save()), *options],
        cwd=pipeline.folder,
        env={**pipeline.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def noted(pipeline: Pipeline) -> Generations:
    """What is noted of the generations."""
    with closing(pipeline.settings.open_log()) as log:
        return generations_of(log, pipeline.name)


def until(holds: Callable[[], bool], deadline_s: float = 200.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        try:
            if holds():
                return
        except nvisy.errors.NvisyError:  # there is no index yet
            pass
        time.sleep(0.1)
    raise AssertionError("it never came to that")
