"""What is said of a plan: the same words for the same graph, held against files that a reviewer can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.graph.parse import parse
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.drawing import mermaid, text
from nvisy.plan.explain import explain
from nvisy.plan.rights import rights
from nvisy.runtime import dead_letters
from nvisy.runtime.requests import requests_topic
from nvisy.runtime.run_history import runs_topic
from nvisy.topics import connector as topic_connector
from nvisy.topics.kafka.reader import group_of
from nvisy.topics.kafka.state import state_topic
from nvisy.topics.log import Seat
from tests.unit.graph.fakes import DESCRIPTORS, Catalog
from tests.unit.plan.test_compile import BRANCH, EMBED, FANIN, FANOUT, INDEX, LINE, OTHER, SOURCE

GOLDEN = Path(__file__).parent / "golden"
CATALOG = Catalog.of([*(one for one in DESCRIPTORS if one.name != "topic"), *topic_connector.DESCRIPTORS])
CHAIN = ["files>text", "text>chunk", "chunk>embed"]
EVENTS = {"type": "sink", "provider": "topic", "params": {"topic": "vectors"}}


def checked(name: str, nodes: dict[str, Any], *edges: str, topic: Any = None) -> CheckedGraph:
    def edge(written: str) -> dict[str, Any]:
        origin, _, to = written.partition(">")
        node, _, port = origin.partition(":")
        kept = {} if topic is None else {"topic": topic}
        return {"from": node, "to": to, **({"port": port} if port else {}), **kept}

    graph = {
        "name": name,
        "nodes": [{"id": node, **value} for node, value in nodes.items()],
        "edges": [edge(one) for one in edges],
    }
    return check(parse(json.dumps(graph)), CATALOG, {})


GRAPHS = {
    "line": checked("line", LINE, *CHAIN, "embed>index"),
    "one_stage": checked("one_stage", LINE, *CHAIN, "embed>index", topic=False),
    "ways": checked(
        "ways",
        {
            "files": SOURCE,
            "text": LINE["text"],
            "chunk": LINE["chunk"],
            "both": FANOUT,
            "one": EMBED,
            "two": EMBED,
            "all": FANIN,
            "route": BRANCH,
            "index": INDEX,
            "other": OTHER,
            "events": EVENTS,
        },
        *["files>text", "text>chunk", "chunk>both", "both>one", "both>two", "one>all", "two>all"],
        *["all>route", "route:a>index", "route:b>other", "all>events"],
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_an_explanation_reads_as_its_golden_file(name: str) -> None:
    explanation = explain(GRAPHS[name], compile_graph(GRAPHS[name]))
    assert text(explanation) == (GOLDEN / f"{name}.txt").read_text()
    assert mermaid(explanation) == (GOLDEN / f"{name}.mmd").read_text()
    assert json.loads(json.dumps(explanation.as_json())) == json.loads((GOLDEN / f"{name}.json").read_text())


def test_an_edge_that_is_cut_whatever_the_graph_asks_for_is_not_said_to_be_uncut() -> None:
    alone = {"type": "action", "action": "deduplicate"}
    graph = checked(
        "alone",
        {
            "files": SOURCE,
            "text": LINE["text"],
            "once": alone,
            "chunk": LINE["chunk"],
            "embed": EMBED,
            "index": INDEX,
        },
        *["files>text", "text>once", "once>chunk", "chunk>embed", "embed>index"],
        topic=False,
    )
    explanation = explain(graph, compile_graph(graph))
    assert [topic.name for topic in explanation.topics] == ["alone.text", "alone.once"]
    assert explanation.uncut == ("files → text", "chunk → embed", "embed → index")


def test_every_class_of_guarantee_has_a_sentence_of_its_own() -> None:
    from dataclasses import replace

    from nvisy.plan.promises import sink_promise

    index = next(one for one in DESCRIPTORS if isinstance(one, SinkDescriptor))
    classes = ("transactional", "conditional", "filtered", "eventual")
    sinks = [
        replace(index, capabilities=replace(index.capabilities, guarantee=name))  # type: ignore[arg-type]
        for name in classes
    ]
    assert len({sink_promise(sink) for sink in sinks}) == len(classes)
    assert not any("exactly once" in sink_promise(sink) for sink in sinks)


def test_the_rights_cover_what_the_log_and_the_runtime_use() -> None:
    graph = GRAPHS["line"]
    plan = compile_graph(graph)
    given = rights(graph, plan)
    topics = {right.name for right in given if right.resource == "topic"}
    own = {dead_letters.topic_of("line"), state_topic("line"), requests_topic("line"), runs_topic("line")}
    assert topics == {"line.files", "line.embed", *own}
    group = next(right for right in given if right.resource == "group")
    assert group.pattern == "prefixed"
    assert group_of(Seat("line", "text", "abc", (), ())).startswith(group.name)


def test_a_sink_for_other_programs_needs_no_right_to_create_its_topic() -> None:
    graph = GRAPHS["ways"]
    given = {right.name: right for right in rights(graph, compile_graph(graph)) if right.resource == "topic"}
    assert given["vectors"].operations == ("Describe", "DescribeConfigs", "Write")


def test_a_right_is_what_the_tool_of_kafka_takes() -> None:
    graph = GRAPHS["line"]
    commands = [right.command() for right in rights(graph, compile_graph(graph))]
    assert commands[-1] == (
        "--transactional-id nvisy.line. --resource-pattern-type prefixed --operation Write --operation Describe"
    )
