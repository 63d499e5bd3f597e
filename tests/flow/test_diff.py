"""What `diff` says of a change of a graph is what its next run does."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from nvisy.catalog import Catalog
from nvisy.cli.main import call
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.diff import GraphDiff, diff
from tests.flow.pipeline import Pipeline, edges, text


def edited(pipeline: Pipeline, node: str, **params: Any) -> GraphDiff:
    """Change parameters of a node; what that makes the next run do over."""
    old = checked(pipeline)
    pipeline.graph = deepcopy(pipeline.graph)
    found = next(one for one in pipeline.graph["nodes"] if one["id"] == node)
    found.setdefault("params", {}).update(params)
    return diff(old, checked(pipeline))


@pytest.mark.parametrize(
    ("node", "params", "done_over"),
    [
        ("chunk", {"size": 120}, {"text", "index"}),
        ("index", {"collection": "other"}, {"index"}),
        ("files", {"glob": "**/[0-4].md"}, set()),
    ],
)
def test_the_next_run_does_over_what_was_said_and_nothing_else(
    embedded: Pipeline, node: str, params: dict[str, Any], done_over: set[str]
) -> None:
    embedded.write({f"{n}.md": text(n) for n in range(5)})
    embedded.run()
    found = edited(embedded, node, **params)
    assert not found.refused
    assert {one.stage for one in found.stages if one.effect in {"reads_again", "gets_again"}} == done_over
    report = embedded.run()
    first = {"files": "files", "text": "text", "index": "index"}
    ran = {stage for stage, node in first.items() if stage != "files" and report.nodes[node]["in"]}
    assert ran == done_over
    asked = any(one.models for one in found.stages)
    assert bool(report.model_calls) == asked


def test_an_edit_behind_a_source_without_a_topic_counts_from_now_on(embedded: Pipeline) -> None:
    """Which is what `diff` says, with what to do about it."""
    embedded.graph["edges"] = edges("files>text=", "text>chunk", "chunk>embed", "embed>index")
    embedded.write({"a.md": text(1)})
    before = embedded.run().written
    found = edited(embedded, "chunk", size=90)
    assert [one.effect for one in found.stages] == ["from_now_on", "same"]
    assert embedded.run().written == 0
    assert embedded.run(adopt=True).written > before


def test_the_command_says_what_how_much_and_why(
    embedded: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NVISY_STATE", str(embedded.settings.state))
    monkeypatch.delenv("NVISY_LOG", raising=False)
    embedded.write({f"{n}.md": text(n) for n in range(3)})
    embedded.run()
    old = embedded.save().rename(embedded.folder / "old.json")
    name = embedded.name
    assert call(["diff", str(old), str(embedded.save())]) == 0
    assert capsys.readouterr().out == "the next run does nothing over\n"
    edited(embedded, "chunk", size=120)
    assert call(["diff", str(old), str(embedded.save())]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"stage text reads {name}.files (3 changes) from the beginning",
        "  chunk: size 200 → 120",
        "  asks local/hash@1 for texts that its cache does not have",
        f"stage index gets every document once more from {name}.embed (3 changes)",
        "  text makes it anew",
        "as before: files",
    ]
    assert call(["diff", str(old), str(embedded.save()), "--json"]) == 0
    assert f'"{name}.files": 3' in capsys.readouterr().out


def checked(pipeline: Pipeline) -> CheckedGraph:
    """The graph of a pipeline as it is now."""
    return check(Graph.load(pipeline.save()), Catalog.installed(), pipeline.environ)
