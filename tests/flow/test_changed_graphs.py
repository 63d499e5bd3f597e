"""A graph that is edited between runs leaves what it says now, and nothing of what it said before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flow.pipeline import Pipeline, edges, text


def passages(pipeline: Pipeline) -> list[tuple[str, str]]:
    return sorted((hit.key, hit.text) for hit in pipeline.records())


def chunk_size(pipeline: Pipeline, size: int) -> None:
    pipeline.graph["nodes"][2]["params"]["size"] = size


def rename(pipeline: Pipeline, old: str, new: str) -> None:
    for node in pipeline.graph["nodes"]:
        node["id"] = new if node["id"] == old else node["id"]
    for edge in pipeline.graph["edges"]:
        edge.update({end: new for end in ("from", "to") if edge[end] == old})


def without_topics(pipeline: Pipeline) -> None:
    for edge in pipeline.graph["edges"]:
        edge["topic"] = False


def with_topics(pipeline: Pipeline) -> None:
    for edge in pipeline.graph["edges"]:
        edge.pop("topic", None)


def test_a_setting_that_is_changed_and_changed_back_leaves_what_it_left_at_first(pipeline: Pipeline) -> None:
    pipeline.write({"a.md": text(1), "b.md": text(2)})
    pipeline.run()
    first = passages(pipeline)
    chunk_size(pipeline, 80)
    pipeline.run()
    assert passages(pipeline) != first
    chunk_size(pipeline, 200)
    assert pipeline.run().state == "completed"
    assert passages(pipeline) == first
    assert pipeline.run().unchanged == 0, "the input was read again although nothing had changed"


def test_what_is_gone_when_a_stage_without_topics_is_edited_leaves_the_index(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1), "b.md": text(2)})
    without_topics(embedded)
    embedded.run()
    (embedded.docs / "a.md").unlink()
    chunk_size(embedded, 80)
    embedded.run()
    assert embedded.keys() == {"b.md"}


def test_topics_may_be_taken_out_and_put_back(embedded: Pipeline) -> None:
    embedded.write({"a.md": "one", "gone.md": "one"})
    embedded.run()
    (embedded.docs / "gone.md").unlink()
    for content, change in (("two", without_topics), ("three", without_topics), ("four", with_topics)):
        embedded.write({"a.md": content})
        change(embedded)
        embedded.run()
        assert passages(embedded) == [("a.md", content)]


def test_a_stage_that_was_away_begins_anew(pipeline: Pipeline) -> None:
    pipeline.write({"a.md": text(1), "b.md": text(2)})
    pipeline.run()
    first = passages(pipeline)
    rename(pipeline, "text", "words")
    chunk_size(pipeline, 80)
    pipeline.run()
    assert passages(pipeline) != first
    rename(pipeline, "words", "text")
    chunk_size(pipeline, 200)
    pipeline.run()
    assert passages(pipeline) == first


def test_another_topic_may_number_what_a_source_says(pipeline: Pipeline) -> None:
    for content in ("one", "two", "three"):
        pipeline.write({"a.md": content, "gone.md": content})
        pipeline.run()
    (pipeline.docs / "gone.md").unlink()
    for content, topic in (("four", f"{pipeline.name}.other"), ("five", None)):
        pipeline.graph["edges"][0]["topic"] = topic
        pipeline.write({"a.md": content})
        pipeline.run()
        assert passages(pipeline) == [("a.md", content)]


def test_a_source_that_gets_another_name_and_keeps_its_topic_is_read_anew(embedded: Pipeline) -> None:
    embedded.graph["edges"][0]["topic"] = "shared"
    embedded.write({"a.md": text(1), "b.md": text(2)})
    embedded.run()
    first = passages(embedded)
    rename(embedded, "files", "papers")
    embedded.run()
    assert passages(embedded) == first
    chunk_size(embedded, 80)
    embedded.run()
    small = passages(embedded)
    assert len(small) == len(set(small)) > len(first), "what the former source left came again"
    rename(embedded, "papers", "files")
    embedded.run()
    assert passages(embedded) == small


def test_a_source_that_is_gone_owns_no_duplicate(embedded: Pipeline) -> None:
    dedupe = {"id": "unlike", "type": "action", "action": "deduplicate"}
    embedded.graph["nodes"].insert(2, dedupe)
    embedded.graph["edges"] = edges("files>text", "text>unlike", "unlike>chunk", "chunk>embed", "embed>index")
    embedded.write({"a.md": text(1), "b.md": text(2)})
    embedded.run()
    first = passages(embedded)
    rename(embedded, "files", "papers")
    embedded.run()
    assert passages(embedded) == first


@pytest.mark.parametrize(
    "ending", ["os._exit(0)", "raise KeyboardInterrupt", "raise GeneratorExit", "sys.exit()"]
)
def test_a_function_that_ends_its_process_is_never_taken_for_the_end_of_the_input(
    embedded: Pipeline, ending: str
) -> None:
    embedded.write({"a.md": "fine", "b.md": "bomb"})
    lines = ["import os, sys", "def step(document):", "    if 'bomb' in document.text:", f"        {ending}"]
    (embedded.folder / "mine.py").write_text("\n".join([*lines, "    return document"]))
    step: dict[str, Any] = {"id": "step", "type": "action", "action": "python"}
    embedded.graph["nodes"].insert(2, {**step, "params": {"function": "mine:step"}})
    embedded.graph["edges"][1]["to"] = "step"
    embedded.graph["edges"].append({"from": "step", "to": "chunk"})
    process = embedded.start()
    out, _ = process.communicate(timeout=60)
    assert b'"state":"completed"' not in out
    if "_exit" not in ending:
        assert embedded.keys() == {"a.md"}
        assert [letter.key for letter in embedded.dead_letters()] == ["b.md"]


def test_a_function_that_is_edited_is_applied_to_everything(embedded: Pipeline) -> None:
    embedded.write({"a.md": "One River", "b.md": "Two Stones"})
    function = "def step(document):\n    return document.replaced(text=document.text.{}())\n"
    step = {"id": "step", "type": "action", "action": "python", "params": {"function": "mine:step"}}
    embedded.graph["nodes"].insert(2, step)
    embedded.graph["edges"][1]["to"] = "step"
    embedded.graph["edges"].append({"from": "step", "to": "chunk"})
    for how, expected in (("upper", "ONE RIVER"), ("lower", "one river")):
        (embedded.folder / "mine.py").write_text(function.format(how))
        embedded.run()
        assert [hit.text for hit in embedded.records(key="a.md")] == [expected]
