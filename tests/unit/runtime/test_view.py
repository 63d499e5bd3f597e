"""What a run says of itself."""

from __future__ import annotations

import pytest

from nvisy.plan.model import Inlet, Stage
from nvisy.runtime import view
from nvisy.runtime.supervisor import StageView
from nvisy.runtime.view import Observer, RunSaid, StageSaid
from nvisy.topics.log import TopicPartition

TEXT = Stage("text", (Inlet("topic", "g.files", "files"),), (), (), (), "c")
FILES = Stage("files", (Inlet("source", "files", "files"),), (), (), (), "c")


def test_it_is_read_as_it_was_written_and_a_form_of_others_is_not_read() -> None:
    said = RunSaid(
        "r", "host:1", "h", False, 1, 2, {"text": StageSaid("running", lives=2)}, True, "the disk is full"
    )
    assert RunSaid.from_json(said.to_json()) == said
    assert RunSaid.from_json(b'{"format": 2}') is None


def test_a_rate_is_what_got_through_in_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, now = Observer(), [100.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])
    text, files = StageView(TEXT, "running"), StageView(FILES, "running")
    observer.see({"text": text, "files": files})
    now[0] += 4
    text.committed = {TopicPartition("g.files", 0): 10, TopicPartition("g.files", 1): 10}
    files.counters.node("files").emitted = 40
    said = observer.see({"text": text, "files": files})
    assert (said["text"].rate, said["files"].rate) == (5.0, 10.0)
    now[0] += 60
    assert observer.see({"text": text, "files": files})["text"].rate == 0.0


def test_copies_of_a_stage_are_counted_together_and_the_last_error_is_remembered() -> None:
    observer = Observer()
    copies = {name: StageView(TEXT, "running", in_flight=2) for name in ("text", "text#1")}
    copies["text#1"].waiting = "the sink does not answer"
    assert observer.see(copies)["text"].waiting == "the sink does not answer"
    copies["text#1"].waiting = ""
    said = observer.see(copies)["text"]
    assert (said.in_flight, said.lives, said.waiting) == (4, 2, "")
    assert said.last_error == "the sink does not answer"
    assert said.last_error_ms > 0
