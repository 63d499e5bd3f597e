"""What the project's pages say is so: the graph is without faults, the variables are read, the links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from nvisy.catalog import Catalog
from nvisy.cli.main import COMMANDS
from nvisy.expressions.filter import parse_filter
from nvisy.graph.parse import parse
from nvisy.graph.validate import check

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "dataflows/*.md",
        "connectors/*/README.md",
        "nvisy/quickstart/template/*.md",
    )
    for path in ROOT.glob(pattern)
)


def test_the_graph_of_the_readme_is_without_faults():
    (graph,) = re.findall(r"^```json\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    check(parse(graph, folder=ROOT), Catalog.installed())


@pytest.mark.parametrize("page", PAGES)
def test_commands_are_called_as_they_can_be(page: str):
    text = (ROOT / page).read_text()
    called = [
        shlex.split(line, comments=True) for line in re.findall(r"^ *(?:\S*/)?nvisy (.*)", text, re.MULTILINE)
    ]
    for words in called:
        assert words[0] in COMMANDS, words
        if "--filter" in words:
            parse_filter(words[words.index("--filter") + 1])


def test_every_command_is_in_the_changelog():
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert [name for name in COMMANDS if f"`{name}`" not in changes] == []


def test_every_variable_of_the_readme_is_read_somewhere():
    code = "".join(path.read_text() for path in (ROOT / "nvisy").rglob("*.py"))
    (table,) = re.findall(r"^## Settings\n(.*?)^In a graph", README, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"NVISY_[A-Z_]+", table))
    assert len(named) > 8
    for variable in named:
        assert variable in code or f"_PREFIX}}{variable.removeprefix('NVISY_KAFKA_')}" in code, variable


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str):
    text = (ROOT / page).read_text()
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize(
    "page", ["ARCHITECTURE.md", *(page for page in PAGES if page.startswith("docs/decisions/"))]
)
def test_files_that_are_named_are_there(page: str):
    folders = [
        ROOT,
        ROOT / "nvisy",
        *(ROOT / "nvisy").glob("*/"),
        *ROOT.glob("connectors/*/*/"),
        ROOT / "connectors/vector",
    ]
    named = re.findall(r"`([\w./]+\.(?:py|md))`", (ROOT / page).read_text())
    missing = [name for name in named if not any((folder / name).exists() for folder in folders)]
    assert [name for name in missing if name not in {"guide.md"}] == []
