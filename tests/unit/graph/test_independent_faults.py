"""Every fault that stands for itself is reported once, whatever other faults there are; none follows from another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from itertools import combinations, pairwise
from typing import Any

import pytest

from tests.unit.graph.fakes import chain, faults

Value = dict[str, Any]


def node(value: Value, node_id: str) -> Value:
    return next(one for one in value["nodes"] if one["id"] == node_id)


def param(node_id: str, **params: Any) -> Callable[[Value], None]:
    def change(value: Value) -> None:
        given = node(value, node_id).setdefault("params", {})
        given.update(params)

    return change


def field(node_id: str, **fields: Any) -> Callable[[Value], None]:
    return lambda value: node(value, node_id).update(fields)


def without_param(node_id: str, name: str) -> Callable[[Value], None]:
    return lambda value: node(value, node_id)["params"].pop(name)


def renamed_param(node_id: str, name: str, wrong: str) -> Callable[[Value], None]:
    def change(value: Value) -> None:
        given = node(value, node_id)["params"]
        given[wrong] = given.pop(name)

    return change


def without_edge(giver: str) -> Callable[[Value], None]:
    return lambda value: value["edges"].remove(next(e for e in value["edges"] if e["from"] == giver))


def edge(giver: str, **fields: Any) -> Callable[[Value], None]:
    return lambda value: next(e for e in value["edges"] if e["from"] == giver).update(fields)


def edge_end(value: Value) -> None:
    last = value["edges"][-1]
    last["form"] = last.pop("from")


FAULTS: Mapping[str, Callable[[Value], None]] = {
    "a misspelled provider": field("files", provider="object/fles"),
    "a source without its path": without_param("files", "path"),
    "an option on a source": field("files", retry={"maxRetries": 3}),
    "an unknown field": field("text", metdata={}),
    "a wrong option": field("text", retry={"backoff": "linear"}),
    "a misspelled action": field("chunk", action="chnk"),
    "a misspelled parameter": renamed_param("chunk", "size", "sise"),
    "a parameter out of bounds": param("chunk", overlap=-1),
    "an unknown parameter": param("chunk", zzz=1),
    "an unknown model": param("embed", model="local/hsh"),
    "a wrong parameter beside the model": param("embed", batchSize=0),
    "a variable that is not set": param("index", path="${NOT_SET}"),
    "a misspelled type": field("index", type="snik"),
    "a misspelled required parameter": renamed_param("index", "collection", "colection"),
    "an expression of a condition": param("kept", when="lng == 1"),
    "a missing edge": without_edge("text"),
    "an edge to a misspelled node": edge("chunk", to="embd"),
    "a misspelled end": edge_end,
}


def graph() -> Value:
    filtered = {"id": "kept", "type": "action", "action": "filter", "params": {"when": "text != ''"}}
    value = copy.deepcopy(chain())
    value["nodes"].insert(2, filtered)
    ids = [one["id"] for one in value["nodes"]]
    value["edges"] = [{"from": a, "to": b} for a, b in pairwise(ids)]
    return value


def broken(*names: str) -> list[tuple[str, str]]:
    value = graph()
    for name in names:
        FAULTS[name](value)
    return sorted((fault.code, fault.message) for fault in faults(value))


SINGLE = {name: broken(name) for name in FAULTS}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_reported_once_and_nothing_follows_from_it(name: str) -> None:
    assert len(SINGLE[name]) == 1


@pytest.mark.parametrize(("one", "other"), list(combinations(FAULTS, 2)))
def test_two_faults_are_both_reported_and_nothing_else(one: str, other: str) -> None:
    assert broken(one, other) == sorted(SINGLE[one] + SINGLE[other])
