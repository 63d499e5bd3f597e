"""The quickstart does what it says, on its own texts and on the project's documentation, and cannot lie about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nvisy.cli.main import call
from nvisy.errors import UsageError
from nvisy.graph.validate import check_file
from nvisy.quickstart import documentation, lay_out, samples, tour

ROOT = Path(__file__).parents[2]
STEPS = ["load", "edit", "delete", "dead letter", "search"]


def run_quickstart(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = call(["quickstart", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("demo", [False, True], ids=["samples", "documentation"])
def test_every_step_has_its_effect(
    demo: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(ROOT if demo else tmp_path)
    monkeypatch.setenv("NVISY_LOG", "kafka://127.0.0.1:1")
    code, said = run_quickstart(capsys, str(tmp_path / "here"), *(["--demo"] if demo else []))
    assert code == 0, said
    assert [step["step"] for step in said["steps"]] == STEPS
    load, edit, delete, letter, search = said["steps"]
    assert load["documents"] >= 12
    assert load["written"] == load["model_calls"] > load["documents"]
    assert 0 < edit["written"] <= edit["model_calls"] < 10
    assert edit["unchanged"] > 0
    assert delete["removed"] > 0
    assert delete["model_calls"] == delete["written"] == 0
    assert (letter["state"], letter["dead_letters"]) == ("degraded", 1)
    assert len(search["hits"]) == 3


def test_a_step_without_its_effect_is_said_and_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(tour, "_edited", lambda text: text)
    code, said = run_quickstart(capsys, str(tmp_path / "here"))
    assert code == 1
    assert [step["step"] for step in said["steps"] if not step["effective"]] == ["edit"]


def test_the_folder_it_writes_holds_a_graph_without_faults(tmp_path: Path):
    check_file(lay_out(tmp_path / "here", samples()))
    assert {path.name for path in (tmp_path / "here").iterdir()} == {
        "graph.json",
        "graph.schema.json",
        "README.md",
        ".env.example",
        "documents",
    }


def test_it_writes_into_no_folder_that_holds_something(tmp_path: Path):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(UsageError, match="not empty"):
        lay_out(tmp_path, samples())


def test_the_documentation_is_looked_for_where_it_can_be(tmp_path: Path):
    with pytest.raises(UsageError, match="source tree"):
        documentation(tmp_path)
