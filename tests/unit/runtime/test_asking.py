"""Who does what is asked about dead letters: the run that is live, or the command itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from nvisy.errors import Refused
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime import asking as module
from nvisy.runtime import dead_letters
from nvisy.runtime.asking import Asking, drop_here
from nvisy.runtime.dead_letters import open_entries
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.requests import append_outside, standing
from nvisy.runtime.selection import Selection
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import TopicPartition


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EmbeddedLog:
    """Two open dead letters; nobody is waited for for long."""
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "ALIVE_S", 0.05)
    log = EmbeddedLog(tmp_path)
    log.create("g.dlq", 2)
    for offset, key in enumerate(("a", "b")):
        change = Change(Provenance("files", key, version=Version(1, offset)))
        ticket = Ticket(TopicPartition("g.files", 0), offset)
        flight = Flight(change, ticket, b"raw", Failure("text", "corrupt", "damaged"))
        append_outside(log, "g", "/test", [dead_letters.entry("g", "text", "g.embed", flight, 2)])
    return log


def test_where_nobody_runs_the_graph_nobody_is_asked(log: EmbeddedLog) -> None:
    asking = Asking(log, "g", "drop", Selection(key="a"))
    assert not asking.by_owner()
    assert standing(log, "g") == []
    drop_here(log, "g", "host:1", asking.named)
    assert asking.by_owner()
    assert [answer.outcome for answer in asking.answers().values()] == ["dropped"]
    assert [letter.key for letter in open_entries(log, "g")] == ["b"]


def test_a_live_run_is_asked_once_and_when_it_is_gone_the_rest_is_for_the_command(
    log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = EmbeddedLog(tmp_path).claim("g", "host:1")
    with pytest.raises(Refused, match="host:1"):
        drop_here(log, "g", "host:2", ())
    asking = Asking(log, "g", "replay", Selection())
    first, second = asking.named
    closing = dead_letters.closing("g", first.key, "resolved", 2)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            append_outside(log, "g", "/test", [closing])
        if len(waited) == 20:
            claim.release()

    monkeypatch.setattr(module.time, "sleep", sleep)
    assert not asking.by_owner()
    (request,) = standing(log, "g")
    assert (request.kind, request.letters) == ("replay", (first, second))
    assert asking.named == (second,)


def test_a_command_that_is_interrupted_leaves_its_request(
    log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    claim = EmbeddedLog(tmp_path).claim("g", "host:1")
    monkeypatch.setattr(module.time, "sleep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Asking(log, "g", "drop", Selection()).by_owner()
    assert len(standing(log, "g")) == 1
    claim.release()
