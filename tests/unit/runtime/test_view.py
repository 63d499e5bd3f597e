"""What a run says of itself."""

from __future__ import annotations

import pytest

from nvisy.plan.model import Inlet, Stage
from nvisy.runtime import view
from nvisy.runtime.stage_process import StageView
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


def stands(*offsets: int) -> dict[TopicPartition, int]:
    return {TopicPartition("g.files", partition): offset for partition, offset in enumerate(offsets)}


def test_a_rate_is_what_got_through_in_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, now = Observer(), [100.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])
    text, files = StageView(TEXT, "running", committed=stands(500, 7)), StageView(FILES, "running")
    observer.see({"text": text, "files": files})
    now[0] += 4
    text.committed = stands(510, 17)
    files.counters.node("files").emitted = 40
    said = observer.see({"text": text, "files": files})
    assert (said["text"].rate, said["files"].rate) == (5.0, 10.0)
    now[0] += 60
    assert observer.see({"text": text, "files": files})["text"].rate == 0.0


def test_where_a_stage_stood_when_it_started_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, now = Observer(), [100.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])
    text = StageView(TEXT, "starting")
    for committed in ({}, {}, stands(500, 400), stands(500, 400)):
        text.committed = committed
        assert observer.see({"text": text})["text"].rate == 0.0
        now[0] += 1
    text.committed = stands(500, 404)
    assert observer.see({"text": text})["text"].rate == 2.0


def test_what_copies_got_through_together_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, now = Observer(), [100.0]
    monkeypatch.setattr(view.time, "monotonic", lambda: now[0])
    copies = {f"text/{slot}": StageView(TEXT, "running", committed=stands(0, 0)) for slot in range(2)}
    observer.see(copies)
    now[0] += 2
    for copy in copies.values():
        copy.committed = stands(3, 5)
    assert observer.see(copies)["text"].rate == 4.0


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
