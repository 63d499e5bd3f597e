import json

import pytest

from nvisy.errors import Fault, GraphError, UsageError
from nvisy.graph.model import Graph, SinkNode
from nvisy.graph.origin import Origin, in_order
from nvisy.graph.parse import parse, read
from tests.unit.graph.fakes import lint


def faults(value) -> list[Fault]:
    """What is wrong with the structure alone."""
    return in_order(read(value, Origin()).faults)


def messages(value) -> list[str]:
    return [str(fault) for fault in faults(value)]


def one_node(**node) -> dict:
    return {"name": "docs", "nodes": [node]}


def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the graph .*none.json: No such file"):
        Graph.load(tmp_path / "none.json")


def test_a_folder_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="Is a directory"):
        Graph.load(tmp_path)


def test_malformed_json_names_file_line_and_column(tmp_path):
    assert lint('{\n  "name": "docs",\n}', tmp_path) == [
        'graph.json:2:17  NV1002  a "," before "}"; remove the comma'
    ]


def test_an_empty_file_is_a_fault(tmp_path):
    assert lint("", tmp_path) == ["graph.json:1:1  NV1002  the text ends too early"]


def test_a_file_that_is_too_large_is_a_fault(tmp_path):
    assert lint(" " * (9 << 20), tmp_path) == ["graph.json:1:1  NV1004  the text is larger than 8 MiB"]


def test_a_byte_order_mark_is_ignored():
    assert parse(b'\xef\xbb\xbf{"name": "docs"}').id == "docs"
    assert parse('\ufeff{"name": "docs"}').id == "docs"


def test_other_encodings_are_faults_with_a_place():
    with pytest.raises(GraphError, match=r"g.json:2:4  NV1005  this is not UTF-8") as caught:
        parse(b'{\n "\xc3\xa9\xe9": 1}', file="g.json")
    assert caught.value.exit_code == 1


def test_a_graph_that_is_no_object_is_a_fault():
    assert messages([])[0].startswith("graph  NV1103  a graph is a JSON object")


def test_comments_are_ignored_anywhere():
    value = {
        "_comment": 1,
        "name": "docs",
        "nodes": [
            {"_comment": "x", "id": "a", "type": "source", "provider": "p", "params": {"_comment": []}}
        ],
    }
    assert parse(json.dumps(value)).value()["nodes"] == [
        {"id": "a", "type": "source", "provider": "p", "params": {}}
    ]


@pytest.mark.parametrize(
    "node", [{"type": "target"}, {"type": "sink"}, {"type": "action", "action": "load"}], ids=str
)
def test_a_sink_has_three_names(node):
    graph = parse(json.dumps(one_node(id="a", provider="vector/sqlite", **node)))
    assert graph.nodes == (SinkNode(id="a", provider="vector/sqlite"),)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({}, '"name" is missing'),
        ({"name": "my docs"}, 'give the graph an "id"'),
        ({"name": "docs", "id": "a/b"}, '/id  NV1103  "id" has to be 1 to 64 of A-Z a-z 0-9 _ -'),
        ({"name": "docs", "node": []}, '/node  NV1102  unknown field "node"; did you mean "nodes"?'),
        ({"name": "docs", "nodes": {}}, '/nodes  NV1103  "nodes" has to be a list'),
        ({"name": "docs", "connections": []}, '/connections  NV1103  "connections" has to be an object'),
        (
            {"name": "docs", "log": {"partitions": 0}},
            '/log/partitions  NV1103  "partitions" has to be at least 1',
        ),
        (
            {"name": "docs", "log": {"partitions": "4"}},
            '/log/partitions  NV1103  "partitions" has to be a whole number',
        ),
        ({"name": "docs", "edges": [{"from": "a"}]}, '/edges/0  NV1101  "to" is missing'),
        ({"name": "docs", "edges": [{"from_": "a", "to": "b"}]}, "/edges/0/from_  NV1102  unknown field"),
        (
            {"name": "docs", "edges": [{"from": "a", "to": "b", "topic": True}]},
            '/edges/0/topic  NV1103  "topic" has to be a text or false',
        ),
        ({"name": "docs", "edges": [{"from": "a", "to": "b", "topic": "."}]}, "/edges/0/topic  NV1103"),
        (one_node(id="a"), '/nodes/0  NV1101  "type" is missing; one of source, action'),
        (
            one_node(id="a", type="sauce"),
            '/nodes/0/type  NV1203  unknown node type "sauce"; did you mean "source"?',
        ),
        (one_node(id="a", type=7), '/nodes/0/type  NV1203  unknown node type "7"; one of source'),
        (one_node(id="a b", type="fanin"), '/nodes/0/id  NV1103  "id" has to be 1 to 64'),
        (one_node(id="a" * 65, type="fanin"), "/nodes/0/id  NV1103"),
        (one_node(type="fanin"), '/nodes/0  NV1101  "id" is missing'),
        (one_node(id="a", type="source"), '/nodes/0  NV1101  "provider" is missing'),
        (
            one_node(id="a", type="fanin", params={}),
            '/nodes/0/params  NV1102  unknown field "params"; known: id, type',
        ),
        (
            one_node(id="a", type="action", action="x", retry={"backOff": 1}),
            '/nodes/0/retry/backOff  NV1102  unknown field "backOff"; did you mean "backoff"?',
        ),
        (
            one_node(id="a", type="action", action="x", retry={"backoff": "linear"}),
            '/nodes/0/retry/backoff  NV1103  "backoff" has to be "exponential", "fixed" or "jitter"',
        ),
        (one_node(id="a", type="branch", params={"routes": []}), "/nodes/0/params/routes  NV1103"),
        ({"name": "docs", "nodes": ["a"]}, "/nodes/0  NV1103  a node is a JSON object"),
        ({"name": "docs", "connections": {"c/1": {"limits": 3}}}, "/connections/c~11/limits  NV1103"),
    ],
)
def test_says_which_part_is_wrong(value, fault):
    assert any(fault in message for message in messages(value)), messages(value)


def test_every_missing_field_is_named():
    assert [fault.message for fault in faults({"name": "docs", "edges": [{}]})] == [
        '"from" is missing',
        '"to" is missing',
    ]


def test_a_fault_never_quotes_the_value():
    (fault,) = faults(one_node(id="a", type="source", provider="p", params="s3cret"))
    assert "s3cret" not in str(fault)
