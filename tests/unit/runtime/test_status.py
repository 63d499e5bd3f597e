"""How a graph is, from an embedded log alone."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from nvisy.plan.model import Inlet, Outlet, Plan, Stage
from nvisy.runtime.requests import append_outside
from nvisy.runtime.status import by_node, status_of
from nvisy.runtime.view import RunSaid, StageSaid, as_state, owners_seat
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Append, Seat, TopicPartition
from tests.unit.runtime.letters import letter

FILES = Stage(
    "files", (Inlet("source", "files", "files"),), (), (Outlet("topic", "g.files", "files"),), (), "c"
)
TEXT = Stage(
    "text",
    (Inlet("topic", "g.files", "files"),),
    (),
    (Outlet("sink", "index", "index"),),
    (),
    "c",
    ("files",),
)
PLAN = Plan("g", "hash", 2, (FILES, TEXT), ())


@pytest.fixture
def log(tmp_path: Path) -> EmbeddedLog:
    return EmbeddedLog(tmp_path / "log")


def fill(log: EmbeddedLog) -> None:
    """Three records in the topic, of which the stage has read one."""
    log.create("g.files", 2)
    records = [Append("g.files", partition, b"files/a", b"x") for partition in (0, 0, 1)]
    append_outside(log, "g", "/test", records)
    session = log.session(Seat("g", "text", "c1", ("g.files",), ()))
    session.commit({TopicPartition("g.files", 0): 1})
    session.close()


def say(log: EmbeddedLog, **facts: object) -> None:
    now_ms = time.time_ns() // 1_000_000
    usual = {
        "run_id": "r1",
        "owner": "host:1",
        "graph_hash": "hash",
        "follow": True,
        "started_ms": now_ms,
        "at_ms": now_ms,
        "stages": {"text": StageSaid("running", "c1", 2, 1.5, "the sink", 1, "the sink", now_ms)},
    }
    said = RunSaid(**(usual | facts))
    session = log.session(owners_seat("g"))
    session.commit({}, as_state(said, is_owner=said.host == 0))
    session.close()


def test_a_graph_that_never_ran_is_idle_and_nothing_is_made_to_find_that_out(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    status = status_of(log, PLAN)
    assert not status.running
    assert [(one.state, one.lag, one.rate) for one in status.stages] == [("idle", None, None)] * 2
    assert not (tmp_path / "log").exists()


def test_without_a_run_the_lag_is_what_the_positions_say(log: EmbeddedLog) -> None:
    fill(log)
    say(log, ended=True, error="the disk is full")
    status = status_of(log, PLAN)
    files, text = status.stages
    assert (status.running, status.run_id, status.error) == (False, "r1", "the disk is full")
    assert (files.lag, text.lag, text.state, text.in_flight) == (None, 2, "idle", None)
    assert 0 <= text.lag_s < 60
    assert text.last_error == "the sink"


def test_with_a_run_it_is_what_that_says_too(log: EmbeddedLog) -> None:
    fill(log)
    say(log)
    claim = log.claim("g", "host:1")
    status = status_of(log, PLAN)
    text = status.stages[1]
    assert (status.running, status.owner, status.is_stale, status.graph_changed) == (
        True,
        "host:1",
        False,
        False,
    )
    assert (text.state, text.lag, text.in_flight, text.rate, text.waiting) == (
        "running",
        2,
        2,
        1.5,
        "the sink",
    )
    claim.release()


def test_a_run_that_has_been_silent_or_is_of_another_graph_is_told_apart(log: EmbeddedLog) -> None:
    fill(log)
    say(log, at_ms=1, graph_hash="other")
    claim = log.claim("g", "host:1")
    status = status_of(log, PLAN)
    assert status.is_stale
    assert status.graph_changed
    claim.release()
    claim = log.claim("g", "host:2")
    status = status_of(log, PLAN)
    assert (status.owner, status.said_s_ago, status.stages[1].state) == ("host:2", None, "unknown")
    claim.release()


def test_hosts_that_have_joined_count_in(log: EmbeddedLog) -> None:
    fill(log)
    say(log, token=7)
    say(log, token=7, host=1, owner="other:1")
    say(log, token=6, host=2, owner="of an earlier claim:1")
    say(log, token=7, host=3, owner="silent:1", at_ms=1)
    say(log, token=7, host=4, owner="gone:1", ended=True)
    claim = log.claim("g", "host:1")
    status = status_of(log, PLAN)
    claim.release()
    assert [(one.owner, one.host, one.stages) for one in status.hosts] == [("other:1", 1, ("text",))]
    text = status.stages[1]
    assert (text.in_flight, text.rate) == (4, 1.5)  # what got through is the same wherever one asks
    assert not status_of(log, PLAN).hosts


def test_letters_are_counted_by_node_with_the_last_of_each() -> None:
    letters = [
        letter("0-0", node="text"),
        letter("1-0", node="embed"),
        letter("2-0", node="text", message="new"),
    ]
    counts = by_node(letters)
    assert [(node, one.count, one.message) for node, one in counts.items()] == [
        ("embed", 1, "damaged"),
        ("text", 2, "new"),
    ]
