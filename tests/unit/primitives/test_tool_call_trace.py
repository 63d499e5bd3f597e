"""A tool call trace: a list of calls that is a tree."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from nvisy.primitives import ToolCall, ToolCallNode, ToolCallTrace


def call(name, parent=None, **fields):
    return ToolCall(name=name, parent=parent, **fields)


def test_costs_and_latencies_are_summed_upward():
    trace = ToolCallTrace(
        calls=[
            call("search", latency_ms=5, cost_usd="0.1"),
            call("fetch", 0, latency_ms=20, cost_usd="0.2"),
            call("parse", 1, latency_ms=1),
            call("answer", latency_ms=3, cost_usd="0.5"),
        ]
    )
    search, answer = trace.roots
    assert (search.latency_ms, search.cost_usd) == (26, Decimal("0.3"))
    assert (search.children[0].latency_ms, answer.cost_usd) == (21, Decimal("0.5"))
    assert (trace.latency_ms, trace.cost_usd) == (29, Decimal("0.8"))


def test_a_tree_becomes_a_list_and_the_same_tree_again():
    tree = (
        ToolCallNode(
            call("a"), (ToolCallNode(call("b")), ToolCallNode(call("c"), (ToolCallNode(call("d")),)))
        ),
        ToolCallNode(call("e")),
    )
    trace = ToolCallTrace.from_tree(tree, model="m")
    assert [(each.name, each.parent) for each in trace.calls] == [
        ("a", None),
        ("b", 0),
        ("c", 0),
        ("d", 2),
        ("e", None),
    ]
    assert ToolCallTrace.from_tree(trace.roots, model="m") == trace


@pytest.mark.parametrize(
    "parents", [[0], [1, 0], [None, 2, 1], [None, 5]], ids=["itself", "each other", "a cycle apart", "nobody"]
)
def test_what_is_no_tree_is_refused(parents):
    with pytest.raises(ValidationError, match="does not stand before it"):
        ToolCallTrace(calls=[call(f"c{index}", parent) for index, parent in enumerate(parents)])


def test_calls_may_nest_sixty_four_levels_and_no_deeper():
    chain = [call("root"), *(call("below", index) for index in range(63))]
    assert ToolCallTrace(calls=chain).roots
    with pytest.raises(ValidationError, match="64 levels deep"):
        ToolCallTrace(calls=[*chain, call("too deep", 63)])
    node = ToolCallNode(call("leaf"))
    for _ in range(64):
        node = ToolCallNode(call("above"), (node,))
    with pytest.raises(ValueError, match="64 levels deep"):
        ToolCallTrace.from_tree([node])


def test_its_hash_does_not_depend_on_what_the_calls_took():
    assert (
        ToolCallTrace(calls=[call("a", latency_ms=1)]).content_hash
        == ToolCallTrace(calls=[call("a", latency_ms=2, cost_usd=1)]).content_hash
    )
    assert (
        ToolCallTrace(calls=[call("a", result=1)]).content_hash
        != ToolCallTrace(calls=[call("a", result=2)]).content_hash
    )


def test_a_trace_has_calls():
    with pytest.raises(ValidationError):
        ToolCallTrace(calls=[])
