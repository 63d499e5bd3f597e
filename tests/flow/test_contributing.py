"""The code in CONTRIBUTING.md is written out as it stands there, and works."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of the page, beside what an installation would say of it."""
    folder = tmp_path_factory.mktemp("acme")
    for name, text in re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder / "nvisy_acme" / "__init__.py").write_text('"""An example."""\n')
    groups = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]
    information = folder / "nvisy_acme-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nvisy-acme\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text(
        "\n".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in entries.items())
            for group, entries in groups.items()
        )
    )
    (graph,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (folder / "graph.json").write_text(graph)
    return folder


def python(package: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("NVISY_")}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=package,
        env={**environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_connector_passes_the_conformance_suite(package: Path):
    done = python(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "tests")
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b\d{2} passed\b", done.stdout), done.stdout


def test_connector_action_and_model_make_an_index_together(package: Path):
    with closing(sqlite3.connect(package / "notes.db")) as database, database:
        database.execute("CREATE TABLE notes (id TEXT PRIMARY KEY, text TEXT)")
        database.execute("INSERT INTO notes VALUES ('one', 'Write to ada@example.org about the engine.')")
    nvisy = ("-c", "from nvisy.cli.main import main; main()")
    ran = python(package, *nvisy, "run", "graph.json", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1])["written"] == 1
    held = python(package, *nvisy, "records", "graph.json", "--json")
    assert json.loads(held.stdout)["text"] == "Write to [mail] about the engine."


def test_the_connector_has_100_lines_of_code_at_most():
    (source,) = re.findall(r"^```python\n# nvisy_acme/table\.py\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert len([line for line in source.splitlines() if line.strip()]) <= 100


@pytest.mark.parametrize(
    "tool", [("ruff", "check", "--ignore=I001"), ("ruff", "format", "--check"), ("mypy", "--strict")]
)
def test_the_code_keeps_the_rules_of_the_page(package: Path, tool: tuple[str, ...]):
    configuration = str(Path(__file__).parents[2] / "pyproject.toml")
    option = "--config-file" if tool[0] == "mypy" else "--config"
    done = python(package, "-m", *tool, option, configuration, "nvisy_acme")
    assert done.returncode == 0, done.stdout + done.stderr
