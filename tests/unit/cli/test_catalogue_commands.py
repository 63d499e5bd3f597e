"""`nvisy nodes`, `nvisy schema` and `nvisy doctor`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nvisy import doctor
from nvisy.catalog import Broken, Catalog
from nvisy.doctor import examine
from nvisy.graph.parse import parse
from nvisy.runtime.settings import Settings
from tests.unit.cli.conftest import Call
from tests.unit.graph.fakes import CATALOG, chain


def test_the_catalogue_is_listed_by_kind(nvisy: Call) -> None:
    lines = [line.split()[:2] for line in nvisy("nodes").out.splitlines()]
    assert ["source", "object/files"] in lines
    assert ["action", "chunk"] in lines
    assert ["model", "local/hash"] in lines
    assert ["primitive", "Embedding"] in lines


def test_a_node_is_shown_with_its_parameters(nvisy: Call) -> None:
    shown = nvisy("nodes", "chunk").out
    assert "    size: whole number, 1200 unless given\n        Characters of a chunk.\n" in shown
    assert "primitive" not in shown


def test_what_every_graph_may_have_is_listed_too(nvisy: Call) -> None:
    lines = [line.split()[:2] for line in nvisy("nodes").out.splitlines()]
    assert [line for line in lines if line[0] == "node"] == [
        ["node", "branch"],
        ["node", "fanout"],
        ["node", "fanin"],
    ]
    shown = nvisy("nodes", "branch").out
    assert (
        "    routes: list of {port: text, when: text}, required\n        Ways out, tried in this order.\n"
        in shown
    )
    (entry,) = nvisy("nodes", "branch", "--json").json()
    value = chain(text=entry["example"])
    value["edges"][1]["port"] = "code"
    parse(json.dumps(value))
    assert 'did you mean "fanin"?' in nvisy("nodes", "fan-in").err


def test_secrets_and_choices_are_told_apart(nvisy: Call) -> None:
    shown = nvisy("nodes", "vector/remote").out
    assert "dsn: secret text, required" in shown
    assert 'distance: "cosine" or "l2", "cosine" unless given' in shown


def test_the_catalogue_is_a_list_for_machines(nvisy: Call) -> None:
    (entry,) = nvisy("nodes", "object/files", "--json").json()
    assert (entry["kind"], entry["deletes"]) == ("source", True)
    assert [param["name"] for param in entry["params"]] == ["path", "glob"]


def test_a_name_that_is_not_there_gets_a_suggestion(nvisy: Call) -> None:
    ended = nvisy("nodes", "chnk")
    assert ended.code == 2
    assert 'did you mean "chunk"?' in ended.err


def test_a_broken_plugin_is_one_line(nvisy: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Broken("nvisy.actions", "bad", "ImportError: no module")
    monkeypatch.setattr(Catalog, "broken", lambda _self: (broken,))
    assert "broken: bad (nvisy.actions): ImportError: no module\n" in nvisy("nodes").out
    findings = nvisy("doctor", "--json")
    assert findings.code == 1
    assert [one["name"] for one in findings.json() if one["state"] == "failed"] == ["plugin", "model"]


def test_the_schema_is_printed(nvisy: Call) -> None:
    assert json.loads(nvisy("schema").out)["title"] == "Nvisy graph"


def test_files_that_were_written_are_up_to_date_and_drift_is_found(nvisy: Call, tmp_path: Path) -> None:
    folder = tmp_path / "schemas"
    assert nvisy("schema", "--check", "--folder", folder).code == 1
    assert nvisy("schema", "--write", "--folder", folder).code == 0
    assert nvisy("schema", "--check", "--folder", folder).out == "up to date\n"
    (folder / "avro" / "chunk.avsc").write_text("{}")
    ended = nvisy("schema", "--check", "--folder", folder)
    assert ended.code == 1
    assert "chunk.avsc is not what the code says" in ended.out


def test_every_finding_of_the_doctor_that_is_not_ok_says_what_to_do(tmp_path: Path) -> None:
    environ = {"NVISY_REGISTRY_URL": "http://127.0.0.1:1"}
    findings = list(examine(Settings(tmp_path / ".nvisy", "nonsense://", environ), CATALOG))
    assert {one.name for one in findings} >= {
        "python",
        "packages",
        "log",
        "registry",
        "sqlite",
        "disk",
        "model",
    }
    listed = next(one.detail for one in findings if one.name == "packages" and one.state == "ok")
    assert all(f"nvisy-{name} " in listed for name in ("object", "sql", "vector"))
    wrong = {one.name: one for one in findings if one.state != "ok"}
    assert (wrong["log"].exit_code, wrong["registry"].exit_code) == (2, 3)
    assert all(one.fix for one in wrong.values())
    assert not (tmp_path / ".nvisy").exists()


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOW_BYTES", 1 << 62)
    findings = {one.name: one for one in examine(Settings(tmp_path, None, {}), CATALOG)}
    assert findings["disk"].state == "warning"
    assert findings["disk"].exit_code == 0


def test_the_doctor_looks_at_what_a_graph_connects_to(nvisy: Call, graph: Path) -> None:
    findings = nvisy("doctor", graph, "--json").json()
    assert [one["name"] for one in findings[-2:]] == ["source", "sink"]
    assert nvisy("doctor", "nowhere.json", "--json").json()[-1]["fix"] == "nvisy lint nowhere.json"
