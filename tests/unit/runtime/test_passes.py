"""The word of a full pass reaches a stage when everything that the pass brought has come in there."""

from __future__ import annotations

import pytest

from nvisy.plan.model import Inlet, Outlet, Plan, Stage
from nvisy.runtime.passes import Passes
from nvisy.topics.log import TopicInfo, TopicPartition


def stage(name: str, inputs: dict[str, str], outputs: tuple[str, ...], *, source: str = "") -> Stage:
    inlets = [Inlet("source", source, source)] if source else []
    inlets += [Inlet("topic", topic, maker) for topic, maker in inputs.items()]
    outlets = tuple(Outlet("topic", topic, name) for topic in outputs)
    return Stage(name, tuple(inlets), (), outlets, (), "c", upstream=tuple(inputs.values()))


class Ends:
    """As much of a log as is asked for: where topics end."""

    def __init__(self, **ends: int) -> None:
        self.ends = ends

    def describe(self, topic: str, *, settled: bool = False) -> TopicInfo:
        return TopicInfo(topic, "id", 1, {0: 0}, {0: self.ends[topic]})


@pytest.fixture
def line() -> Plan:
    stages = (
        stage("files", {}, ("a",), source="files"),
        stage("embed", {"a": "files"}, ("b",)),
        stage("index", {"b": "embed"}, ()),
    )
    return Plan("g", "h", 1, stages, ())


def at(**positions: int) -> dict[TopicPartition, int]:
    return {TopicPartition(topic, 0): position for topic, position in positions.items()}


def test_a_pass_is_due_behind_what_it_brought(line):
    passes = Passes(line, Ends(a=10, b=0))
    passes.passed(line.stage("files"), {"files": 2})
    embed = line.stage("embed")
    assert passes.due(embed, at(a=9)) == {}
    assert passes.due(embed, at(a=10)) == {"files": 2}


def test_it_is_due_once(line):
    passes = Passes(line, Ends(a=10, b=0))
    passes.passed(line.stage("files"), {"files": 2})
    passes.due(line.stage("embed"), at(a=10))
    assert passes.due(line.stage("embed"), at(a=10)) == {}


def test_it_goes_from_stage_to_stage(line):
    log = Ends(a=10, b=0)
    passes = Passes(line, log)
    passes.passed(line.stage("files"), {"files": 2})
    assert passes.due(line.stage("index"), at(b=0)) == {}, "the stage between has not had it"
    log.ends["b"] = 25
    passes.passed(line.stage("embed"), {"files": 2})
    assert passes.due(line.stage("index"), at(b=24)) == {}
    assert passes.due(line.stage("index"), at(b=25)) == {"files": 2}


def test_where_a_run_drains_everything_that_came_is_due(line):
    passes = Passes(line, Ends(a=10, b=0))
    passes.passed(line.stage("files"), {"files": 2})
    assert passes.due(line.stage("embed")) == {"files": 2}


def test_a_source_that_comes_two_ways_is_due_when_both_have_come():
    stages = (
        stage("files", {}, ("a",), source="files"),
        stage("one", {"a": "files"}, ("b",)),
        stage("two", {"a": "files"}, ("c",)),
        stage("index", {"b": "one", "c": "two"}, ()),
    )
    plan = Plan("g", "h", 1, stages, ())
    passes = Passes(plan, Ends(a=1, b=5, c=7))
    passes.passed(plan.stage("one"), {"files": 3})
    assert passes.due(plan.stage("index"), at(b=5, c=7)) == {}
    passes.passed(plan.stage("two"), {"files": 2})
    assert passes.due(plan.stage("index"), at(b=5, c=6)) == {}
    assert passes.due(plan.stage("index"), at(b=5, c=7)) == {"files": 2}, "what both confirm"
