import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nvisy.graph.model import Edge, Graph, Retry, SinkNode, SourceNode
from nvisy.graph.parse import parse

IDS = st.text("abcXYZ019_-", min_size=1, max_size=6)
NAMES = st.text(min_size=1, max_size=6).filter(lambda name: name != "_comment")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
PARAMS = st.dictionaries(NAMES, VALUES, max_size=3)


def clean(value):
    """Without what a graph's text may not hold."""
    text = json.dumps(value, ensure_ascii=False)
    return "\\u0000" not in text and not any(0xD800 <= ord(character) < 0xE000 for character in text)


def node(kind: str, required: dict, **optional):
    own = {"id": IDS, "type": st.just(kind), **required}
    return st.fixed_dictionaries(own, optional=optional)


WORKING = {
    "params": PARAMS,
    "connection": IDS,
    "retry": st.fixed_dictionaries(
        {},
        optional={
            "maxRetries": st.integers(0, 9),
            "backoff": st.sampled_from(["exponential", "fixed", "jitter"]),
            "initialDelayMs": st.integers(0, 9),
            "maxDelayMs": st.integers(0, 9),
        },
    ),
    "timeout": st.fixed_dictionaries({}, optional={"nodeTimeoutMs": st.integers(1, 9)}),
    "concurrency": st.fixed_dictionaries({}, optional={"maxPerNode": st.integers(1, 9)}),
}
ROUTES = st.fixed_dictionaries(
    {"routes": st.lists(st.fixed_dictionaries({"port": IDS, "when": NAMES}), min_size=1, max_size=3)},
    optional={"default": IDS},
)
GRAPHS = st.fixed_dictionaries(
    {"name": IDS},
    optional={
        "$schema": st.text(max_size=6),
        "id": IDS,
        "description": st.text(max_size=6),
        "log": st.fixed_dictionaries({}, optional={"partitions": st.integers(1, 9)}),
        "nodes": st.lists(
            node("source", {"provider": NAMES}, **WORKING)
            | node("sink", {"provider": NAMES}, **WORKING)
            | node("action", {"action": NAMES.filter(lambda name: name != "load")}, **WORKING)
            | node("branch", {"params": ROUTES})
            | node("fanout", {})
            | node("fanin", {}),
            max_size=4,
        ),
        "edges": st.lists(
            st.fixed_dictionaries(
                {"from": IDS, "to": IDS}, optional={"port": IDS, "topic": st.just(False) | IDS}
            ),
            max_size=3,
        ),
        "connections": st.dictionaries(
            IDS,
            st.fixed_dictionaries({"provider": NAMES}, optional={"params": PARAMS, "limits": PARAMS}),
            max_size=2,
        ),
        "metadata": PARAMS,
    },
).filter(clean)


@given(GRAPHS)
def test_json_comes_back_as_it_was_written(value):
    graph = parse(json.dumps(value))
    assert graph.value() == value
    assert json.loads(graph.to_json()) == value
    assert parse(graph.to_json()) == graph


def test_the_id_defaults_to_the_name_and_is_not_written():
    graph = parse('{"name": "docs"}')
    assert (graph.id, graph.value()) == ("docs", {"name": "docs"})
    assert graph == parse('{"name": "docs", "id": "docs"}')


def test_the_name_defaults_to_the_id():
    graph = parse('{"id": "docs"}')
    assert (graph.name, graph.value()) == ("docs", {"id": "docs"})


def test_a_graph_made_of_classes_is_the_same_as_one_from_json():
    made = Graph(
        name="docs",
        nodes=[SourceNode(id="a", provider="p"), SinkNode(id="b", provider="q", retry=Retry(max_retries=1))],
        edges=[Edge(from_="a", to="b", topic=False)],
    )
    assert parse(made.to_json()) == made
    assert made.value()["nodes"][1] == {
        "id": "b",
        "type": "sink",
        "provider": "q",
        "retry": {"maxRetries": 1},
    }


def test_defaults_are_those_that_other_tools_know():
    retry = SourceNode(id="a", provider="p").retry
    assert (retry.max_retries, retry.backoff, retry.initial_delay_ms, retry.max_delay_ms) == (
        3,
        "exponential",
        1000,
        30000,
    )


def test_a_graph_is_frozen():
    graph = Graph(name="docs")
    with pytest.raises(ValidationError, match="frozen"):
        graph.name = "other"


def test_where_a_graph_was_read_is_no_part_of_what_it_is(tmp_path):
    (tmp_path / "g.json").write_text('{"name": "docs"}')
    loaded = Graph.load(tmp_path / "g.json")
    assert loaded == Graph(name="docs")
    assert loaded.origin.folder == tmp_path
    assert "origin" not in loaded.to_json()
