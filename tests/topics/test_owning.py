"""What the owner of a graph does beside running its stages, on both logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from nvisy.plan.model import Inlet, Outlet, Plan, Stage
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime import dead_letters
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.dead_letters import open_entries
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.owning import OwningThread
from nvisy.runtime.requests import Named, Request, append_outside, ask, standing
from nvisy.runtime.run_history import Ending, RunHistory
from nvisy.runtime.settings import Settings
from nvisy.runtime.stage_process import StageView
from nvisy.runtime.view import RunSaid, last_view
from nvisy.topics.log import Append, Log, TopicPartition
from tests.topics.drive import Place, until

SAID = RunSaid("r1", "host:1", "h", True, 1, 2)
COMPLETED = Ending("completed", 0, "", StageCounters())


def plan_of(graph: str) -> Plan:
    outlet = Outlet("topic", f"{graph}.embed", "embed")
    files = Stage(
        "files", (Inlet("source", "files", "files"),), (), (Outlet("topic", f"{graph}.f", "f"),), (), "c"
    )
    text = Stage("text", (Inlet("topic", f"{graph}.f", "files"),), (), (outlet,), (), "c", ("files",))
    return Plan(graph, "h", 2, (files, text), ())


def failed(
    graph: str, key: str, *, stage: str = "text", outlet: str = "embed", source: str = "files"
) -> Append:
    change = Change(Provenance(source, key, version=Version(1, 1)))
    ticket = Ticket(TopicPartition(f"{graph}.f", 0), 1)
    flight = Flight(change, ticket, b"raw", Failure("text", "corrupt", "damaged"))
    return dead_letters.entry(graph, stage, f"{graph}.{outlet}", flight, 2)


@pytest.fixture
def log(opened: Callable[[], Log], graph: str) -> Log:
    log = opened()
    log.create(dead_letters.topic_of(graph), 2)
    return log


@pytest.fixture
def settings(place: Place) -> Settings:
    root = Path(place.root)
    return Settings(root if place.url else root.parent, place.url, {})


def owning_of(
    settings: Settings, plan: Plan, requests: Sequence[Request] = (), *, said: RunSaid = SAID
) -> OwningThread:
    history = RunHistory(plan.graph, said.run_id)
    return OwningThread(settings, plan, said, requests, history=history, is_owner=said.host == 0)


def test_letters_whose_way_is_no_more_are_closed_as_gone(log: Log, settings: Settings, graph: str) -> None:
    letters = [
        failed(graph, "kept"),
        failed(graph, "a", stage="old"),
        failed(graph, "b", outlet="old"),
        failed(graph, "c", source="old"),
    ]
    append_outside(log, graph, "/test", letters)
    owning = owning_of(settings, plan_of(graph))
    owning.start()
    owning.finish(COMPLETED)
    assert [letter.key for letter in open_entries(log, graph)] == ["kept"]
    closed = [record for record in log.scan(dead_letters.topic_of(graph)) if record.value is None]
    assert {dict(record.headers)["nvisy.closed"] for record in closed} == {b"gone"}


def test_requests_are_handed_on_and_answered_when_they_are_carried_out(
    log: Log, settings: Settings, graph: str
) -> None:
    append_outside(log, graph, "/test", [failed(graph, "a")])
    (letter,) = open_entries(log, graph)
    owning = owning_of(settings, plan_of(graph), [Request("replay", ())])
    owning.start()
    asked = ask(log, graph, Request("replay", (Named.of(letter),)))
    came: list[Request] = []
    until(lambda: came.extend(owning.new_requests()) or came)
    assert came == [asked]
    assert owning.standing_requests() == (Request("replay", ()), asked)
    append_outside(log, graph, "/test", [dead_letters.closing(graph, letter.record_key, "resolved", 2)])
    until(lambda: not standing(log, graph))
    owning.finish(COMPLETED)


def test_it_says_how_the_run_is_and_how_it_ended(log: Log, settings: Settings, graph: str) -> None:
    plan = plan_of(graph)
    owning = owning_of(settings, plan)
    owning.watch({"text": StageView(plan.stages[1], "running", in_flight=7)})
    owning.start()
    until(lambda: (said := last_view(log, graph)) is not None and said.stages["text"].in_flight == 7)
    owning.finish(Ending("failed", 3, "the disk is full", StageCounters()))
    said = last_view(log, graph)
    assert (said.ended, said.error, said.run_id) == (True, "the disk is full", "r1")


def test_a_host_that_has_joined_hands_requests_on_and_leaves_the_rest_to_the_owner(
    log: Log, settings: Settings, graph: str
) -> None:
    append_outside(log, graph, "/test", [failed(graph, "a"), failed(graph, "b", stage="old")])
    letter = next(one for one in open_entries(log, graph) if one.key == "a")
    asked = ask(log, graph, Request("replay", (Named.of(letter),)))
    joined = replace(SAID, owner="other:2", token=7, host=1)
    owning = owning_of(settings, plan_of(graph), said=joined)
    owning.start()
    until(lambda: owning.new_requests() == [asked])
    append_outside(log, graph, "/test", [dead_letters.closing(graph, letter.record_key, "resolved", 2)])
    owning.finish(COMPLETED)
    assert [letter.key for letter in open_entries(log, graph)] == ["b"]
    assert standing(log, graph) == [asked]
    assert last_view(log, graph) is None
