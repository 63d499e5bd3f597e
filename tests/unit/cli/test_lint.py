"""What a mistake looks like."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Call, write
from tests.unit.graph.fakes import NODES, chain

WRONG = chain(
    chunk={**NODES["chunk"], "action": "chnk"},
    embed={**NODES["embed"], "params": {"model": "local/hash", "dimensions": "${DIMENSIONS_NOT_SET}"}},
)


def test_a_graph_in_order_is_said_to_be(nvisy: Call, graph: Path) -> None:
    ended = nvisy("lint", graph)
    assert (ended.code, ended.out) == (0, f"{graph}: nothing is wrong\n")
    assert nvisy("lint", graph, "--json").json() == []


def test_all_faults_are_listed_at_once_with_place_code_and_hint(nvisy: Call, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    ended = nvisy("lint", "graph.json")
    first, second, last = ended.out.splitlines()
    assert ended.code == 1
    assert first.startswith('graph.json:20:17  NV1202  unknown action "chnk"; did you mean "chunk"?')
    assert second.startswith("graph.json:31:23  ")
    assert "NV1402  DIMENSIONS_NOT_SET is not set" in second
    assert last == "2 errors. Run `nvisy help NV1202` for more."


def test_a_fault_in_one_node_hides_none_in_the_others(nvisy: Call, tmp_path: Path) -> None:
    chunk = {**NODES["chunk"], "params": {"sise": 400}}
    embed = {**NODES["embed"], "params": {"model": "local/hsh"}}
    index = {**NODES["index"], "type": "snik", "params": {"colection": "docs"}}
    write(tmp_path, chain(chunk=chunk, embed=embed, index=index))
    *found, last = nvisy("lint", "graph.json").out.splitlines()
    assert [line.split("; ")[1] for line in found] == [
        f'did you mean "{name}"?' for name in ("size", "local/hash", "sink", "collection")
    ]
    assert all(line.startswith("graph.json:") for line in found)
    assert last.startswith("4 errors.")


def test_faults_are_objects_for_machines(nvisy: Call, tmp_path: Path) -> None:
    write(tmp_path, WRONG)
    ended = nvisy("lint", "graph.json", "--json")
    assert ended.code == 1
    first = ended.json()[0]
    assert {name: first[name] for name in ("file", "line", "code", "pointer")} == {
        "file": "graph.json",
        "line": 20,
        "code": "NV1202",
        "pointer": "/nodes/2/action",
    }


def test_a_plan_that_cannot_be_is_a_fault_too(nvisy: Call, tmp_path: Path) -> None:
    extract = {"type": "action", "action": "extract"}
    value = {
        "name": "docs",
        "nodes": [
            NODES["files"],
            NODES["text"],
            {"id": "more", **extract},
            {"id": "again", **extract},
            *[NODES[name] for name in ("chunk", "embed", "index")],
        ],
        "edges": [
            {"from": "files", "to": "text"},
            {"from": "text", "to": "more", "topic": "aside"},
            {"from": "more", "to": "again", "topic": "back"},
            {"from": "text", "to": "chunk"},
            {"from": "again", "to": "chunk", "topic": False},
            {"from": "chunk", "to": "embed"},
            {"from": "embed", "to": "index"},
        ],
    }
    write(tmp_path, value)
    ended = nvisy("lint", "graph.json")
    assert ended.code == 1
    assert "NV15" in ended.out


def test_a_file_that_is_not_there_is_wrong_usage(nvisy: Call) -> None:
    ended = nvisy("lint", "nowhere.json")
    assert (ended.code, ended.err) == (
        2,
        "nvisy: cannot read the graph nowhere.json: No such file or directory\n",
    )


def test_help_explains_a_code_whatever_its_case(nvisy: Call) -> None:
    ended = nvisy("help", "nv1203")
    assert ended.code == 0
    assert ended.out.startswith("NV1203: unknown node type\n\n")
    assert nvisy("help", "NV1203", "--json").json()[0]["code"] == "NV1203"
    assert "NV1203  unknown node type" in nvisy("help").out
    assert nvisy("help", "NV0000").code == 2
