from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nvisy.catalog import Catalog
from nvisy.connector.descriptor import Fact, SourceDescriptor
from nvisy.errors import Unreachable
from nvisy.runtime.settings import Settings
from nvisy.runtime.source_health import source_health
from tests.unit.graph.fakes import DESCRIPTORS, chain, checked


def health_of(tell: Any) -> Mapping[str, Mapping[str, Fact]]:
    """Of a graph whose source tells of itself by `tell`."""
    told = [replace(one, health=tell) if isinstance(one, SourceDescriptor) else one for one in DESCRIPTORS]
    graph = checked(chain(), catalog=Catalog.of(told))
    return source_health(graph, Settings(Path("/nowhere"), None))


def test_a_source_is_asked_by_the_name_of_its_node_with_its_parameters():
    told = health_of(lambda params, context: {"slot": f"{context.node}/{params.path.name}", "kept_bytes": 7})
    assert told == {"files": {"slot": "files/docs", "kept_bytes": 7}}


def test_one_that_cannot_be_asked_says_why():
    def deaf(*_: object) -> Mapping[str, Fact]:
        raise Unreachable("nobody answers at h:1")

    assert health_of(deaf) == {"files": {"error": "nobody answers at h:1"}}


def test_one_that_has_nothing_to_tell_is_left_out():
    assert health_of(None) == {}
    assert health_of(lambda *_: {}) == {}
