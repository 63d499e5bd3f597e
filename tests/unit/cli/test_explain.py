"""`nvisy explain` prints what `nvisy.plan` says."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Call, write
from tests.unit.graph.fakes import NODES, chain


def test_a_graph_is_explained_in_words_as_a_drawing_and_for_machines(nvisy: Call, graph: Path) -> None:
    assert nvisy("explain", graph).out.startswith("docs: 3 stages, 2 topics of 4 partitions\n")
    assert nvisy("explain", graph, "--mermaid").out.startswith("flowchart LR\n")
    explained = nvisy("explain", graph, "--json").json()
    assert [topic["name"] for topic in explained["topics"]] == ["docs.files", "docs.embed"]


def test_the_rights_on_kafka_are_listed(nvisy: Call, graph: Path) -> None:
    lines = nvisy("explain", graph, "--acls").out.splitlines()
    assert any(line.startswith("--group nvisy.docs. --resource-pattern-type prefixed") for line in lines)
    rights = nvisy("explain", graph, "--acls", "--json").json()
    assert {right["resource"] for right in rights} == {"topic", "group", "transactional-id"}


def test_formats_that_exclude_each_other_are_wrong_usage(nvisy: Call, graph: Path) -> None:
    assert nvisy("explain", graph, "--mermaid", "--json").code == 2


def test_a_wrong_graph_says_all_that_is_wrong(nvisy: Call, tmp_path: Path) -> None:
    write(tmp_path, chain(chunk={**NODES["chunk"], "action": "chnk"}))
    ended = nvisy("explain", "graph.json")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == "1 error. Run `nvisy help NV1202` for more."
