"""Paths that break off, and paths that begin from nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.graph.fakes import NODES, chain, faults


def without(*edges: int, **changed: Any) -> dict[str, Any]:
    value = chain(**changed)
    return {**value, "edges": [edge for place, edge in enumerate(value["edges"]) if place not in edges]}


def hints(value: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(fault.code, fault.message, fault.hint) for fault in faults(value)]


@pytest.mark.parametrize(
    ("place", "giver", "taker"), [(0, "files", "text"), (1, "text", "chunk"), (3, "embed", "index")]
)
def test_an_edge_that_is_missing_is_one_fault_and_named(place: int, giver: str, taker: str) -> None:
    hint = f'is an edge missing? {{"from": "{giver}", "to": "{taker}"}}'
    assert hints(without(place)) == [("NV1507", f'no source leads to "{taker}"', hint)]


def test_each_edge_that_is_missing_is_one_fault() -> None:
    assert [hint for _, _, hint in hints(without(1, 2))] == [
        'is an edge missing? {"from": "text", "to": "chunk"}',
        'is an edge missing? {"from": "chunk", "to": "embed"}',
    ]


def test_an_edge_the_wrong_way_round_is_told_from_one_that_is_missing() -> None:
    value = chain()
    value["edges"][1] = {"from": "chunk", "to": "text"}
    assert hints(value) == [
        ("NV1507", 'no source leads to "chunk"', 'is the edge from "chunk" to "text" the wrong way round?')
    ]


def test_ways_that_part_may_each_break_off() -> None:
    aside = {**NODES["text"], "id": "aside"}
    value = chain()
    value["nodes"] += [aside, {**aside, "id": "beside"}]
    value["edges"] += [{"from": "files", "to": "aside"}, {"from": "aside", "to": "beside"}]
    assert hints(value) == [("NV1508", '"beside" leads to no sink', "add an edge from it, or remove it")]


@pytest.mark.parametrize(
    ("name", "written"), [("nodes", "node"), ("edges", "edgs"), ("connections", "conections")]
)
def test_a_part_of_the_graph_under_a_misspelled_name_is_one_fault(name: str, written: str) -> None:
    value = chain(embed={**NODES["embed"], "connection": "c1", "params": {"model": "openai/x"}})
    value["connections"] = {"c1": {"provider": "openai", "params": {"apiKey": "k"}}}
    value[written] = value.pop(name)
    assert hints(value) == [("NV1102", f'unknown field "{written}"', f'did you mean "{name}"?')]
