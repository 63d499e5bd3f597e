import json
from pathlib import Path

import pytest

from nvisy.errors import GraphError
from nvisy.graph.model import Graph
from nvisy.graph.parse import parse
from nvisy.graph.validate import check
from tests.unit.graph.fakes import CATALOG, chain


def test_a_chain_is_the_same_as_its_json():
    g = Graph.build("docs")
    text = g.source("files", "object/files", path="docs").action("text", "extract")
    vectors = text.action("chunk", "chunk", size=400).action("embed", "embed", model="local/hash")
    vectors.sink("index", "vector/sqlite", collection="docs")
    assert g.graph() == parse(json.dumps(chain()))
    assert json.loads(g.to_json()) == chain()


def test_ways_part_and_meet():
    g = Graph.build("docs", log={"partitions": 2})
    route = g.source("files", "object/files", path=Path("docs")).branch(
        "route", {"code": "x"}, default="prose"
    )
    code = route.port("code").action("a", "filter", when="y")
    join = g.fanin("join", [code, route.port("prose")])
    part = join.topic("joined").fanout("part")
    part.topic(False).sink("one", "s")
    part.sink("two", "s")
    value = g.graph().value()
    assert value["edges"] == [
        {"from": "files", "to": "route"},
        {"from": "route", "to": "a", "port": "code"},
        {"from": "a", "to": "join"},
        {"from": "route", "to": "join", "port": "prose"},
        {"from": "join", "to": "part", "topic": "joined"},
        {"from": "part", "to": "one", "topic": False},
        {"from": "part", "to": "two"},
    ]
    assert value["log"] == {"partitions": 2}
    assert value["nodes"][0]["params"] == {"path": "docs"}


def test_options_and_connections_are_written_as_in_json():
    g = Graph.build("docs")
    key = g.connection("c1", "openai", apiKey="${KEY}", limits={"maxInFlight": 4})
    files = g.source("files", "object/files", options={"retry": {"maxRetries": 0}})
    files.action("embed", "embed", options={"connection": key}, model="openai/x")
    value = g.graph().value()
    assert value["nodes"][0]["retry"] == {"maxRetries": 0}
    assert value["nodes"][1]["connection"] == "c1"
    assert value["connections"] == {
        "c1": {"provider": "openai", "params": {"apiKey": "${KEY}"}, "limits": {"maxInFlight": 4}}
    }


def test_a_fault_shows_the_pointer_since_there_is_no_file():
    g = Graph.build("docs")
    g.source("files", "object/fles", path="docs").sink("index", "vector/sqlite", collection="docs")
    with pytest.raises(
        GraphError, match=r'^/nodes/0/provider  NV1201  unknown source "object/fles"; did you'
    ):
        check(g.graph(), CATALOG, {})


def test_an_id_that_is_none_is_a_fault():
    g = Graph.build("docs")
    g.source("my files", "object/files")
    with pytest.raises(GraphError, match="/nodes/0/id  NV1103"):
        g.graph()


def test_relative_paths_start_where_the_caller_says(tmp_path):
    g = Graph.build("docs")
    assert g.graph().origin.folder == Path.cwd()
    assert g.graph(folder=tmp_path).origin.folder == tmp_path
