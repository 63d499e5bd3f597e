"""What is said of a node whose input is not known, or whose parameters are at fault."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from nvisy.catalog import Catalog
from nvisy.connector.descriptor import Params
from nvisy.connector.shape import Shape
from nvisy.primitives.document import Document
from tests.unit.graph.fakes import CATALOG, DESCRIPTORS, NODES, SourceDescriptor, chain, faults, source

FILES, TEXT, CHUNK, EMBED, INDEX = NODES.values()


class RecordsParams(Params):
    format: int | None = None


def codes(value: Any, catalog: Catalog = CATALOG) -> list[tuple[str, str]]:
    return [(fault.code, fault.pointer) for fault in faults(value, catalog=catalog)]


def without(*names: str, **changed: Any) -> dict[str, Any]:
    """The chain of nodes without some of them."""
    value = chain(**changed)
    kept = [node for node in value["nodes"] if node["id"] not in names]
    ids = [node["id"] for node in kept]
    return {
        **value,
        "nodes": kept,
        "edges": [{"from": a, "to": b} for a, b in pairwise(ids)],
    }


def test_a_node_with_a_wrong_parameter_is_still_asked_whether_it_takes_what_arrives() -> None:
    value = without("text", chunk={**CHUNK, "params": {"overlap": -1}})
    assert sorted(codes(value)) == [("NV1213", "/nodes/1/params/overlap"), ("NV1301", "/nodes/1")]


def test_what_depends_on_a_parameter_at_fault_is_not_guessed() -> None:
    def shape(params: RecordsParams) -> Shape:
        return Shape(Document, raw=params.format is None)

    plain = source("object/records")
    records = SourceDescriptor(plain.name, "", RecordsParams, plain.capabilities, plain.open, shape)
    catalog = Catalog.of([*DESCRIPTORS, records])
    files = {**FILES, "provider": "object/records", "params": {"format": "jsonl"}}
    assert codes(without("text", files=files), catalog) == [("NV1213", "/nodes/0/params/format")]


def test_behind_a_node_that_does_not_fit_the_next_is_checked_as_if_it_did() -> None:
    value = without("text", embed={**EMBED, "params": {"model": "local/hsh"}})
    assert codes(value) == [("NV1301", "/nodes/1"), ("NV1204", "/nodes/2/params/model")]


def test_behind_a_node_that_nobody_knows_what_is_wrong_for_every_primitive_is_found() -> None:
    unknown = {**TEXT, "action": "qqq"}
    wrong = {"id": "chunk", "type": "action", "action": "filter", "params": {"when": "text =="}}
    assert codes(without("embed", text=unknown, chunk=wrong)) == [
        ("NV1202", "/nodes/1/action"),
        ("NV1310", "/nodes/2/params/when"),
    ]
    sound = {**wrong, "params": {"when": "media_type == 'x'"}}
    assert codes(without("embed", text=unknown, chunk=sound)) == [("NV1202", "/nodes/1/action")]


def test_nodes_on_a_cycle_and_behind_it_are_checked() -> None:
    value = chain(embed={**EMBED, "params": {"model": "local/hsh"}})
    value["edges"].append({"from": "chunk", "to": "text"})
    assert sorted(codes(value)) == [("NV1204", "/nodes/3/params/model"), ("NV1502", "/edges/4")]


def test_an_action_is_told_where_the_parameters_of_its_model_are_wrong() -> None:
    embed = {**EMBED, "params": {"model": "openai/small"}, "connection": "c1"}
    connection = {"provider": "openai", "params": {"apiKey": 5, "apiKye": "x"}}
    found = faults({**chain(embed=embed), "connections": {"c1": connection}})
    assert {(fault.code, fault.pointer) for fault in found} == {
        ("NV1213", "/connections/c1/params/apiKey"),
        ("NV1211", "/connections/c1/params/apiKye"),
    }


def test_a_connection_that_cannot_be_read_is_the_only_fault_it_makes() -> None:
    embed = {**EMBED, "params": {"model": "openai/small"}, "connection": "c1"}
    connection = {"provider": "openai", "params": {"apiKey": "${NOT_SET}"}}
    assert codes({**chain(embed=embed), "connections": {"c1": connection}}) == [
        ("NV1402", "/connections/c1/params/apiKey")
    ]
