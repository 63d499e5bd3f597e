"""What a sink says to what arrives, in words of a person."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.graph.fakes import NODES, checked, faults

FILES, TEXT, CHUNK, EMBED, INDEX = NODES.values()


def graph(nodes: list[dict[str, Any]], *edges: str) -> dict[str, Any]:
    ways = [edge.split(">") for edge in edges]
    return {"name": "docs", "nodes": nodes, "edges": [{"from": a, "to": b} for a, b in ways]}


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        (
            graph([FILES, TEXT, CHUNK, INDEX], "files>text", "text>chunk", "chunk>index"),
            '"index" keeps vectors, and "chunk" gives it Chunks: nothing between them makes vectors of those',
            (
                "put an `embed` node between them: "
                '{"id": "embed", "type": "action", "action": "embed", "params": {"model": "local/wordllama"}}'
            ),
        ),
        (
            graph([FILES, TEXT, INDEX], "files>text", "text>index"),
            '"index" keeps vectors, and "text" gives it Documents: nothing between them makes vectors of those',
            (
                "put a `chunk` node between them, with `embed` behind it: "
                '{"id": "chunk", "type": "action", "action": "chunk"}'
            ),
        ),
        (
            graph([FILES, INDEX], "files>index"),
            '"index" keeps vectors, and "files" gives it bytes: nothing between them makes vectors of those',
            (
                "put an `extract` node between them, with `chunk` and `embed` behind it: "
                '{"id": "text", "type": "action", "action": "extract"}'
            ),
        ),
    ],
)
def test_what_is_missing_before_a_store_of_vectors_is_said_with_an_example(
    value: dict[str, Any], message: str, hint: str
) -> None:
    (fault,) = faults(value)
    assert (fault.code, fault.message, fault.hint) == ("NV1303", message, hint)


def test_an_embed_that_was_left_aside_is_named_and_is_no_fault_of_its_own() -> None:
    (fault,) = faults(graph([FILES, TEXT, CHUNK, EMBED, INDEX], "files>text", "text>chunk", "chunk>index"))
    assert (fault.code, fault.pointer) == ("NV1303", "/nodes/4")
    assert fault.hint == '"embed" has no edges: lead the way through'


def test_two_sinks_share_a_collection_where_the_provider_says_so() -> None:
    other = {**EMBED, "id": "other", "params": {"model": "local/hash", "dimensions": 9}}
    edges = ("files>text", "text>chunk", "chunk>embed", "chunk>other", "embed>index", "other>copy")

    def sinks(provider: str, **params: Any) -> dict[str, Any]:
        index = {"type": "sink", "provider": provider}
        return graph(
            [
                FILES,
                TEXT,
                CHUNK,
                EMBED,
                other,
                {"id": "index", **index, "params": {"collection": "c", **params}},
                {"id": "copy", **index, "params": {"collection": "c", **params}},
            ],
            *edges,
        )

    (fault,) = faults(sinks("vector/remote", dsn="postgresql://x"))
    assert fault.code == "NV1306"
    assert checked(sinks("vector/placeless"))
