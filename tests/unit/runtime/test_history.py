"""What a graph was: what has left it is counted, and another numbering of the same changes is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nvisy.plan.model import Inlet, Outlet, Plan, Stage
from nvisy.runtime.history import History
from nvisy.topics.embedded import EmbeddedLog


def stage(name: str, inlets: Sequence[Inlet], outlets: Sequence[Outlet], *, alone: bool = False) -> Stage:
    return Stage(name, tuple(inlets), (), tuple(outlets), (), "", alone=alone)


def topic(name: str, node: str = "") -> Outlet:
    return Outlet("topic", name, node)


def inlet(name: str) -> Inlet:
    return Inlet("topic", name, "")


INDEX = Outlet("sink", "index", "index")
FILES = Inlet("source", "files", "files")


def plan(*stages: Stage) -> Plan:
    return Plan("g", "", 1, stages, ())


def chain(origin: str) -> Plan:
    return plan(
        stage("files", [FILES], [topic(origin)]),
        stage("text", [inlet(origin)], [topic("g.embed")]),
        stage("index", [inlet("g.embed")], [INDEX]),
    )


ALONE = plan(stage("files", [FILES], [INDEX]))


def test_the_first_topic_behind_a_source_numbers_its_changes():
    graph = chain("g.files")
    assert graph.numbered_by(graph.stages[-1]) == {"files": "g.files"}
    assert graph.numbered_by(graph.stages[0]) == {"files": "/files"}


def test_what_decides_over_all_of_them_numbers_them_anew():
    graph = plan(
        stage("files", [FILES], [topic("g.files")]),
        stage(
            "unlike",
            [inlet("g.files"), Inlet("foreign", "theirs", "theirs")],
            [topic("g.unlike")],
            alone=True,
        ),
        stage("index", [inlet("g.unlike")], [INDEX]),
    )
    assert graph.numbered_by(graph.stages[-1]) == {"files": "g.unlike", "theirs": "g.unlike"}
    assert graph.numbered_by(graph.stages[1]) == {"files": "g.files", "theirs": "theirs"}


def test_a_stage_that_is_missing_is_counted_once_each_time():
    history = History()
    for one in (chain("g.files"), ALONE, ALONE, chain("g.files"), ALONE):
        history = history.with_stages(one)
    assert history.absences == {"text": 2, "index": 2}


def test_what_is_kept_for_another_generation_is_not_missing():
    history = History().with_stages(chain("g.files")).with_stages(ALONE, kept={"text", "index"})
    assert history.absences == {}
    assert history.with_stages(ALONE).absences == {"text": 1, "index": 1}


@pytest.mark.parametrize("other", [chain("g.other"), ALONE])
def test_another_numbering_of_the_same_source_is_noticed_both_ways(other: Plan):
    first = chain("g.files")
    history = History()
    assert not history.numbers_otherwise(first)
    history = history.with_numbers(first, 0)
    assert not history.numbers_otherwise(first)
    assert history.numbers_otherwise(other)
    history = history.with_numbers(other, 2)
    assert history.numbers_otherwise(first)
    assert history.least == 2


def test_a_source_that_comes_back_is_noticed_and_a_new_one_is_nothing_special():
    papers = plan(
        stage("papers", [Inlet("source", "papers", "papers")], [topic("g.files")]),
        stage("index", [inlet("g.files")], [INDEX]),
    )
    history = History().with_numbers(chain("g.files"), 0)
    assert not history.numbers_otherwise(papers)
    assert history.with_numbers(papers, 0).numbers_otherwise(chain("g.files"))


def test_it_stands_in_the_log(tmp_path: Path):
    log = EmbeddedLog(tmp_path)
    try:
        assert History.of(log, "g") == History()
        history = History().with_stages(ALONE).with_numbers(ALONE, 3)
        history.write(log, "g")
        assert History.of(log, "g") == history
        assert History.of(log, "another") == History()
    finally:
        log.close()
