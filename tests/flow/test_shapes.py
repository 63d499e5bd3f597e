"""Branches, fan-outs, fan-ins, filters, functions and duplicates; all of them at once on both logs."""

from __future__ import annotations

from tests.flow.pipeline import Pipeline, edges, text

SHOUT = '''
from nvisy.primitives import Document


def shout(document: Document) -> Document:
    """The document in capitals, with its length noted."""
    return Document(text=document.text.upper(), metadata={**document.metadata, "length": len(document.text)})
'''


def action(node: str, name: str, **params: object) -> dict[str, object]:
    return {"id": node, "type": "action", "action": name, "params": params}


def full(pipeline: Pipeline) -> None:
    """Everything at once: filter, deduplicate, python, branch, fan-out to two models, fan-in, two sinks."""
    (pipeline.folder / "mine.py").write_text(SHOUT)
    source, extract = pipeline.graph["nodes"][:2]
    hashed = {"model": "local/hash", "dimensions": 64}
    pipeline.graph["nodes"] = [
        source,
        extract,
        action("keep", "filter", when="!key.startsWith('skip')"),
        action("once", "deduplicate"),
        action("shout", "python", function="mine:shout"),
        {
            "id": "route",
            "type": "branch",
            "params": {"routes": [{"port": "long", "when": "size(text) > 60"}], "default": "short"},
        },
        action("fine", "chunk", size=120),
        action("whole", "chunk", size=100000),
        {"id": "all", "type": "fanin"},
        {"id": "both", "type": "fanout"},
        action("embed", "embed", **hashed),
        action("other", "embed", model="local/hash", dimensions=32),
        pipeline.sink("index"),
        pipeline.sink("second"),
    ]
    pipeline.graph["edges"] = edges(
        "files>text",
        "text>keep",
        "keep>once",
        "once>shout",
        "shout>route",
        "route:long>fine",
        "route:short>whole",
        "fine>all",
        "whole>all",
        "all>both",
        "both>embed",
        "both>other",
        "embed>index",
        "other>second",
    )


def test_a_graph_of_every_kind_of_node_runs(pipeline: Pipeline) -> None:
    full(pipeline)
    pipeline.write(
        {
            "a.md": text(1),
            "b.md": text(1),
            "short.md": "A few words.",
            "skip.md": "Not for anyone.",
        }
    )
    report = pipeline.run()
    assert report.state == "completed"
    assert pipeline.keys("index") == pipeline.keys("second") == {"a.md", "short.md"}
    assert len(pipeline.records("index", "a.md")) > 2
    assert [hit.text for hit in pipeline.records("second", "short.md")] == ["A FEW WORDS."]
    assert pipeline.records("index", "a.md")[0].metadata["length"] == len(text(1))
    second = pipeline.run()
    assert (second.written, second.removed, second.model_calls) == (0, 0, 0)


def test_what_a_filter_no_longer_lets_through_disappears(embedded: Pipeline) -> None:
    embedded.graph["nodes"].insert(2, action("keep", "filter", when="!text.contains('secret')"))
    embedded.graph["edges"] = edges("files>text", "text>keep", "keep>chunk", "chunk>embed", "embed>index")
    embedded.write({"a.md": "open words", "b.md": "more open words"})
    embedded.run()
    embedded.write({"a.md": "secret words"})
    report = embedded.run()
    assert embedded.keys() == {"b.md"}
    assert (report.state, report.removed) == ("completed", 1)


def test_a_document_that_takes_another_route_leaves_the_first_one(embedded: Pipeline) -> None:
    embedded.graph["nodes"] += [
        {
            "id": "route",
            "type": "branch",
            "params": {
                "routes": [{"port": "code", "when": "key.endsWith('.py') || text.contains('def ')"}],
                "default": "prose",
            },
        },
        embedded.sink("code"),
    ]
    embedded.graph["edges"] = edges(
        "files>text", "text>chunk", "chunk>embed", "embed>route", "route:prose>index", "route:code>code"
    )
    embedded.write({"a.md": "plain words", "b.md": "def f(): pass"})
    embedded.run()
    assert (embedded.keys("index"), embedded.keys("code")) == ({"a.md"}, {"b.md"})
    embedded.write({"b.md": "words again", "a.md": "def g(): pass"})
    embedded.run()
    assert (embedded.keys("index"), embedded.keys("code")) == ({"b.md"}, {"a.md"})


def test_when_a_kept_document_goes_its_duplicate_takes_its_place(pipeline: Pipeline) -> None:
    pipeline.graph["nodes"].insert(2, action("once", "deduplicate"))
    pipeline.graph["edges"] = edges("files>text", "text>once", "once>chunk", "chunk>embed", "embed>index")
    pipeline.write(
        {"a.md": "the same words", "b.md": "the same words", "c.md": "the same words", "d.md": "others"}
    )
    pipeline.run()
    assert pipeline.keys() == {"a.md", "d.md"}
    (pipeline.docs / "a.md").unlink()
    pipeline.run()
    assert pipeline.keys() == {"b.md", "d.md"}
    pipeline.write({"b.md": "words of its own"})
    pipeline.run()
    assert pipeline.keys() == {"b.md", "c.md", "d.md"}
    second = pipeline.run()
    assert (second.written, second.removed) == (0, 0)


def test_two_sources_flow_into_one_index(embedded: Pipeline) -> None:
    (embedded.folder / "more").mkdir()
    (embedded.folder / "more" / "a.md").write_text("words from elsewhere")
    embedded.graph["nodes"].append(
        {"id": "more", "type": "source", "provider": "object/files", "params": {"path": "more"}}
    )
    embedded.graph["edges"].append({"from": "more", "to": "text"})
    embedded.write({"a.md": "words from here"})
    embedded.run()
    assert sorted(hit.text for hit in embedded.records()) == ["words from elsewhere", "words from here"]
    (embedded.folder / "more" / "a.md").unlink()
    embedded.run()
    assert [hit.text for hit in embedded.records()] == ["words from here"]


def test_a_function_that_fails_is_a_dead_letter_that_names_it(embedded: Pipeline) -> None:
    (embedded.folder / "mine.py").write_text(
        "from nvisy.primitives import Document\n\n\n"
        "def half(document: Document) -> Document:\n"
        "    if 'bad' in document.text:\n"
        "        raise ValueError('no such word here')\n"
        "    return document\n"
    )
    embedded.graph["nodes"].insert(2, action("half", "python", function="mine:half"))
    embedded.graph["edges"] = edges("files>text", "text>half", "half>chunk", "chunk>embed", "embed>index")
    embedded.write({"a.md": "good words", "b.md": "bad words"})
    report = embedded.run()
    assert (report.state, report.dead_letters) == ("degraded", 1)
    assert embedded.keys() == {"a.md"}
    (letter,) = embedded.dead_letters()
    assert (letter.node, letter.key) == ("half", "b.md")
    assert "half" in letter.message
