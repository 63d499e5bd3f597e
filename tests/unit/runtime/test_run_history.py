"""The history of runs: events that are put together again, whatever became of the run that wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from nvisy.runtime.counters import NodeCounters, StageCounters
from nvisy.runtime.requests import append_outside
from nvisy.runtime.run_history import Ending, RunHistory, RunRecord, make_runs_topic, runs_of, runs_topic
from nvisy.runtime.view import RunSaid, StageSaid, as_state, owners_seat
from nvisy.topics.embedded.log import EmbeddedLog

SAID = RunSaid("r1", "host:1", "hash", False, 1000, 1000)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with closing(EmbeddedLog(tmp_path)) as opened:
        make_runs_topic(opened, "g")
        yield opened


def commit(log: EmbeddedLog, history: RunHistory) -> None:
    due = history.due
    append_outside(log, "g", "/owner", due)
    history.committed(due)


def counted(**values: Any) -> StageCounters:
    return StageCounters({"embed": NodeCounters(3, 3)}, **values)


def only(log: EmbeddedLog) -> RunRecord:
    (one,) = runs_of(log, "g")
    return one


def test_a_run_is_remembered_with_how_it_ended_and_what_it_did(log: EmbeddedLog) -> None:
    history = RunHistory("g", "r1")
    history.began(SAID, None, joined=False)
    commit(log, history)
    assert (only(log).state, only(log).exit_code, only(log).ended_ms) == ("lost", None, None), (
        "nobody holds the graph"
    )
    history.ended(Ending("completed", 0, "", counted(written=3, model_calls=3, tokens=70, cost_usd=0.5)), {})
    commit(log, history)
    one = only(log)
    assert (one.id, one.owner, one.graph_hash, one.started_ms) == ("r1", "host:1", "hash", 1000)
    assert (one.state, one.exit_code, one.written, one.model_calls) == ("completed", 0, 3, 3)
    assert (one.tokens, one.cost_usd, one.dead_letters) == (70, 0.5, {})
    assert one.nodes == {"embed": {"in": 3, "out": 3, "filtered": 0, "failed": 0}}


def test_open_dead_letters_make_it_degraded_and_an_error_failed(log: EmbeddedLog) -> None:
    first, second = RunHistory("g", "r1"), RunHistory("g", "r2")
    first.began(SAID, {"embed"}, joined=False)
    first.ended(Ending("completed", 0, "", counted()), {"text": 2})
    second.began(replace(SAID, run_id="r2", started_ms=2000), None, joined=False)
    second.ended(Ending("failed", 3, "the store does not answer", counted()), {"text": 2})
    commit(log, first)
    commit(log, second)
    newest, oldest = runs_of(log, "g")
    assert (newest.id, newest.state, newest.exit_code, newest.error) == (
        "r2",
        "failed",
        3,
        "the store does not answer",
    )
    assert (oldest.state, oldest.exit_code, oldest.dead_letters, oldest.stages) == (
        "degraded",
        4,
        {"text": 2},
        ("embed",),
    )


def test_what_a_stage_fails_of_is_an_event_each_time_it_is_new(log: EmbeddedLog) -> None:
    history = RunHistory("g", "r1")
    history.began(SAID, None, joined=False)
    trouble = StageSaid("running", lives=2, last_error="its process ended: SIGKILL", last_error_ms=1500)
    for _ in range(3):
        history.saw({"embed": trouble}, StageCounters)
    history.saw({"embed": replace(trouble, last_error="no answer", last_error_ms=1700)}, StageCounters)
    commit(log, history)
    assert [(one.stage, one.at_ms, one.error, one.lives) for one in only(log).troubles] == [
        ("embed", 1500, "its process ended: SIGKILL", 2),
        ("embed", 1700, "no answer", 2),
    ]


def test_a_run_that_got_the_graph_twice_counts_both_times(log: EmbeddedLog) -> None:
    history = RunHistory("g", "r1")
    for written in (3, 4):
        history.began(SAID, None, joined=True)
        history.ended(Ending("completed", 0, "", counted(written=written)), {})
    commit(log, history)
    assert (only(log).written, only(log).nodes["embed"]["in"], only(log).joined) == (7, 6, True)


def test_the_run_that_holds_the_graph_is_running(log: EmbeddedLog) -> None:
    history = RunHistory("g", "r1")
    history.began(SAID, None, joined=False)
    commit(log, history)
    claim = log.claim("g", "host:1")
    session = log.session(owners_seat("g"))
    session.commit({}, as_state(SAID))
    session.close()
    assert only(log).state == "running"
    claim.release()
    assert only(log).state == "lost"


def test_what_was_not_committed_is_due_again_and_counts_once(log: EmbeddedLog) -> None:
    history = RunHistory("g", "r1")
    history.began(SAID, None, joined=False)
    append_outside(log, "g", "/owner", history.due)  # and then nobody heard that it was
    history.ended(Ending("completed", 0, "", counted(written=3)), {})
    commit(log, history)
    assert history.due == ()
    assert only(log).written == 3


def test_old_runs_expire(log: EmbeddedLog) -> None:
    for number in range(30):
        history = RunHistory("g", f"r{number}")
        history.began(replace(SAID, run_id=f"r{number}", started_ms=number), None, joined=False)
        commit(log, history)
    assert log.expire(runs_topic("g"), 0, 10) == 20
    assert [one.id for one in runs_of(log, "g")] == [f"r{number}" for number in range(29, 19, -1)]
    assert log.expire(runs_topic("g"), 1 << 50, 10) == 10
    assert runs_of(log, "g") == []


def test_an_event_names_no_document(log: EmbeddedLog) -> None:
    history = RunHistory("g", "r1")
    history.began(SAID, None, joined=False)
    commit(log, history)
    (record,) = log.scan(runs_topic("g"))
    assert record.key == b"r1/0"
    assert orjson.loads(record.value or b"") == {
        "format": 1,
        "event": "run.began",
        "run": "r1",
        "at_ms": 1000,
        "owner": "host:1",
        "graph_hash": "hash",
        "follow": False,
        "joined": False,
        "stages": None,
    }
