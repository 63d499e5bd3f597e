"""Where a graph is cut, and what hangs together."""

from __future__ import annotations

from typing import Any

import pytest

from nvisy.catalog import Catalog
from nvisy.errors import GraphError
from nvisy.graph.parse import parse
from nvisy.graph.validate import check
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Plan
from nvisy.topics import connector as topic_connector
from tests.unit.graph.fakes import CATALOG, DESCRIPTORS

SOURCE = {"type": "source", "provider": "object/files", "params": {"path": "docs"}}
CHUNK = {"type": "action", "action": "chunk"}
TEXT = {"type": "action", "action": "extract"}
EMBED = {"type": "action", "action": "embed", "params": {"model": "local/hash"}}
INDEX = {"type": "sink", "provider": "vector/sqlite", "params": {"collection": "docs"}}
OTHER = {"type": "sink", "provider": "vector/sqlite", "params": {"collection": "more"}}
FANOUT = {"type": "fanout"}
FANIN = {"type": "fanin"}
BRANCH = {"type": "branch", "params": {"routes": [{"port": "a", "when": "true"}], "default": "b"}}


def plan_of(
    nodes: dict[str, dict[str, Any]], *edges: str | dict[str, Any], catalog: Catalog = CATALOG
) -> Plan:
    import json

    def edge(text: str | dict[str, Any]) -> dict[str, Any]:
        if isinstance(text, dict):
            return text
        origin, _, to = text.partition(">")
        node, _, port = origin.partition(":")
        return {"from": node, "to": to, **({"port": port} if port else {})}

    graph = {
        "name": "g",
        "nodes": [{"id": name, **node} for name, node in nodes.items()],
        "edges": [edge(one) for one in edges],
    }
    return compile_graph(check(parse(json.dumps(graph)), catalog, {}))


def shape(plan: Plan) -> dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """By stage: its inlets, its nodes, its outlets."""
    return {
        stage.id: (
            tuple(inlet.name for inlet in stage.inlets),
            stage.nodes,
            tuple(outlet.name for outlet in stage.outlets),
        )
        for stage in plan.stages
    }


LINE = {"files": SOURCE, "text": TEXT, "chunk": CHUNK, "embed": EMBED, "index": INDEX}


def test_a_line_is_cut_behind_its_source_and_behind_its_model() -> None:
    plan = plan_of(LINE, "files>text", "text>chunk", "chunk>embed", "embed>index")
    assert shape(plan) == {
        "files": (("files",), (), ("g.files",)),
        "text": (("g.files",), ("text", "chunk", "embed"), ("g.embed",)),
        "index": (("g.embed",), (), ("index",)),
    }
    assert [(topic.name, topic.origin) for topic in plan.topics] == [("g.files", True), ("g.embed", False)]


def test_topic_false_everywhere_leaves_one_stage() -> None:
    edges = [
        {"from": a, "to": b, "topic": False}
        for a, b in [("files", "text"), ("text", "chunk"), ("chunk", "embed"), ("embed", "index")]
    ]
    plan = plan_of(LINE, *edges)
    assert shape(plan) == {"files": (("files",), ("text", "chunk", "embed"), ("index",))}
    assert plan.topics == ()


def test_a_named_edge_becomes_a_topic_of_that_name() -> None:
    plan = plan_of(
        LINE, "files>text", {"from": "text", "to": "chunk", "topic": "texts"}, "chunk>embed", "embed>index"
    )
    assert shape(plan)["text"][2] == ("texts",)
    assert shape(plan)["chunk"][0] == ("texts",)


def test_several_sinks_read_one_topic_each_in_its_own_stage() -> None:
    plan = plan_of(
        {**LINE, "other": OTHER}, "files>text", "text>chunk", "chunk>embed", "embed>index", "embed>other"
    )
    assert shape(plan)["index"] == (("g.embed",), (), ("index",))
    assert shape(plan)["other"] == (("g.embed",), (), ("other",))
    assert shape(plan)["text"][2] == ("g.embed",)


def test_nothing_is_cut_between_a_fan_out_and_its_fan_in_and_the_cut_follows_it() -> None:
    nodes = {
        "files": SOURCE,
        "text": TEXT,
        "chunk": CHUNK,
        "both": FANOUT,
        "one": EMBED,
        "two": EMBED,
        "all": FANIN,
        "index": INDEX,
    }
    edges = [
        "files>text",
        "text>chunk",
        "chunk>both",
        "both>one",
        "both>two",
        "one>all",
        "two>all",
        "all>index",
    ]
    plan = plan_of(nodes, *edges)
    assert shape(plan) == {
        "files": (("files",), (), ("g.files",)),
        "text": (("g.files",), ("text", "chunk", "both", "one", "two", "all"), ("g.all",)),
        "index": (("g.all",), (), ("index",)),
    }
    assert plan.stage("text").arity("all") == {"g.files": 2}


def test_two_sources_that_meet_are_a_union() -> None:
    nodes = {"left": SOURCE, "right": SOURCE, "text": TEXT, "chunk": CHUNK, "embed": EMBED, "index": INDEX}
    plan = plan_of(nodes, "left>text", "right>text", "text>chunk", "chunk>embed", "embed>index")
    assert shape(plan)["text"][0] == ("g.left", "g.right")
    assert plan.stage("text").arity("text") == {"g.left": 1, "g.right": 1}
    assert plan.stage("text").upstream == ("left", "right")


@pytest.mark.parametrize(("others", "count"), [(False, 2), (None, 1)])
def test_a_source_runs_in_a_stage_alone_or_its_edge_is_refused(others: bool | None, count: int) -> None:
    edges = [
        {"from": "files", "to": "text", "topic": False},
        {"from": "others", "to": "text", "topic": others},
    ]
    with pytest.raises(
        GraphError, match='NV1523  the source "files" would run in one stage with what comes'
    ) as error:
        plan_of({"others": SOURCE, **LINE}, *edges, "text>chunk", "chunk>embed", "embed>index")
    assert [fault.pointer for fault in error.value.faults] == ["/edges/0", "/edges/1"][:count]


def test_each_port_of_a_branch_to_sinks_is_a_topic_of_its_own() -> None:
    nodes = {**LINE, "route": BRANCH, "other": OTHER}
    plan = plan_of(
        nodes, "files>text", "text>chunk", "chunk>embed", "embed>route", "route:a>index", "route:b>other"
    )
    assert shape(plan)["route"] == (("g.embed",), ("route",), ("g.route.a", "g.route.b"))


def test_stages_that_wait_for_each_other_are_refused() -> None:
    nodes = {**LINE, "more": TEXT, "again": TEXT}
    with pytest.raises(GraphError, match=r"NV1512"):
        plan_of(
            nodes,
            "files>text",
            {"from": "text", "to": "more", "topic": "aside"},
            {"from": "more", "to": "again", "topic": "back"},
            "text>chunk",
            {"from": "again", "to": "chunk", "topic": False},
            "chunk>embed",
            "embed>index",
        )


def test_a_stage_has_another_config_when_a_node_of_it_has() -> None:
    edges = ["files>text", "text>chunk", "chunk>embed", "embed>index"]
    one = plan_of(LINE, *edges)
    other = plan_of({**LINE, "chunk": {**CHUNK, "params": {"size": 99}}}, *edges)
    assert one.stage("text").config != other.stage("text").config
    assert one.stage("index").config == other.stage("index").config
    assert one.stage("files").config == other.stage("files").config


def test_a_stage_has_another_config_when_a_topic_is_read_as_something_else_or_under_another_name() -> None:
    catalog = Catalog.of([*(one for one in DESCRIPTORS if one.name != "topic"), *topic_connector.DESCRIPTORS])

    def config(node: str, text: str) -> str:
        topic = {"type": "source", "provider": "topic", "params": {"topic": "articles", "text": text}}
        nodes = {node: topic, "chunk": CHUNK, "embed": EMBED, "index": INDEX}
        return (
            plan_of(nodes, f"{node}>chunk", "chunk>embed", "embed>index", catalog=catalog)
            .stage("chunk")
            .config
        )

    assert len({config("articles", "body"), config("articles", "title"), config("papers", "body")}) == 3


@pytest.mark.parametrize("name", ["g.dlq", "g.state", "g.embed"])
def test_an_edge_may_not_name_a_topic_that_something_else_writes(name: str) -> None:
    edges = ["files>text", {"from": "text", "to": "chunk", "topic": name}, "chunk>embed", "embed>index"]
    with pytest.raises(GraphError, match=f'NV1514  the topic "{name}" is already written by'):
        plan_of(LINE, *edges)


def test_a_node_may_be_called_as_a_topic_of_the_run() -> None:
    nodes = {"dlq": SOURCE, "text": TEXT, "chunk": CHUNK, "state": EMBED, "index": INDEX}
    plan = plan_of(nodes, "dlq>text", "text>chunk", "chunk>state", "state>index")
    assert [topic.name for topic in plan.topics] == ["g.dlq.out", "g.state.out"]
