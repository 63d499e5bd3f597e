"""A graph is kept in the log without what is secret in it, and read again with what the version at hand has."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from nvisy.catalog import Catalog
from nvisy.errors import Refused
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.runtime.kept_graph import graph_from, kept

PASSWORD = "hunter-seven"
VALUE: dict[str, Any] = {
    "name": "docs",
    "nodes": [
        {"id": "files", "type": "source", "provider": "object/files", "params": {"path": "docs"}},
        {"id": "text", "type": "action", "action": "extract"},
        {
            "id": "embed",
            "type": "action",
            "action": "embed",
            "connection": "api",
            "params": {"model": "openai/text-embedding-3-small"},
        },
        {
            "id": "index",
            "type": "sink",
            "provider": "vector/pgvector",
            "params": {"dsn": f"postgresql://nvisy:{PASSWORD}@localhost/nvisy", "collection": "docs"},
        },
    ],
    "edges": [
        {"from": "files", "to": "text"},
        {"from": "text", "to": "embed"},
        {"from": "embed", "to": "index"},
    ],
    "connections": {"api": {"provider": "openai", "params": {"apiKey": "sk-written-out"}}},
}


def checked(**changed: Any) -> CheckedGraph:
    """The graph, with other parameters of its sink."""
    value = copy.deepcopy(VALUE)
    value["nodes"][-1]["params"].update(changed)
    environ = {"DSN": "postgresql://localhost/nvisy"}
    return check(Graph.model_validate(value), Catalog.installed(), environ)


def test_what_is_written_out_and_secret_is_not_kept() -> None:
    text = kept(checked())
    assert PASSWORD not in text
    assert "sk-written-out" not in text
    assert graph_from(text, checked()) == checked().graph


def test_references_are_kept_as_they_are_written() -> None:
    assert "${DSN}" in kept(checked(dsn="${DSN}"))
    assert graph_from(kept(checked(dsn="${DSN}")), checked()) == checked(dsn="${DSN}").graph


def test_what_the_version_at_hand_does_not_have_is_asked_for() -> None:
    text = kept(checked())
    value = copy.deepcopy(VALUE)
    value["nodes"][-1]["id"] = "other"
    value["edges"][-1]["to"] = "other"
    like = check(Graph.model_validate(value), Catalog.installed(), {})
    with pytest.raises(Refused, match=r"index had as 'dsn'"):
        graph_from(text, like)
