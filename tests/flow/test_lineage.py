"""`lineage` leads from a vector to its document, and back; what nobody can know is said."""

from __future__ import annotations

import shutil
from contextlib import closing

import orjson
import pytest

import nvisy
from nvisy.audit.lineage import COST_UNKNOWN
from nvisy.catalog import Catalog
from nvisy.cli.main import call
from nvisy.errors import UsageError
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.primitives.provenance import Version
from nvisy.runtime.requests import append_outside
from nvisy.topics.log import Append
from tests.flow.pipeline import Pipeline, edges, text


def test_a_vector_leads_to_its_document_and_its_place_in_the_log(pipeline: Pipeline) -> None:
    pipeline.write({"a.md": text(1), "b.md": text(2)})
    run = pipeline.run()
    hit = pipeline.records(key="a.md")[2]
    found = nvisy.lineage(checked(pipeline), hit.id, settings=pipeline.settings)
    assert (found.text, found.span, found.key, found.source) == (
        hit.text,
        tuple(hit.span or ()),
        "a.md",
        "files",
    )
    assert found.source_uri == (pipeline.docs / "a.md").as_uri()
    assert [(one.node, one.does, one.is_as_then) for one in found.nodes] == [
        ("files", "object/files", None),
        ("text", "extract", True),
        ("chunk", "chunk", True),
        ("embed", "embed", True),
    ]
    assert found.nodes[2].params == {"size": 200}
    assert (found.model, found.nodes[3].models) == ("local/hash@1", ("local/hash@1",))
    assert (found.run, found.run_started_at is not None) == (run.run_id, True)
    assert found.run_paid is not None
    assert found.run_paid.texts == run.model_calls
    assert found.version == found.document_version
    with closing(pipeline.settings.open_log()) as log:
        assert found.partition is not None
        record = log.read(found.topic, found.partition, found.version.off)
    assert record is not None
    assert (record.topic, record.key) == (f"{pipeline.name}.files", b"files/a.md")
    assert found.in_log is not None
    assert found.in_log.size == len(record.value or b"")
    assert found.unknown == (COST_UNKNOWN,)


def test_the_store_alone_says_most_of_it_and_the_rest_is_named(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1)})
    embedded.run()
    name = embedded.records()[0].id
    before = nvisy.lineage(checked(embedded), name, settings=embedded.settings)
    shutil.rmtree(embedded.folder / ".nvisy" / "log")
    shutil.rmtree(embedded.docs)
    embedded.graph["nodes"][2]["params"] = {"size": 300}
    del embedded.graph["nodes"][1]
    embedded.graph["nodes"].insert(1, {"id": "words", "type": "action", "action": "extract"})
    embedded.graph["edges"] = edges("files>words", "words>chunk", "chunk>embed", "embed>index")
    after = nvisy.lineage(checked(embedded), name, settings=embedded.settings)
    assert after.in_log is None
    assert [(one.node, one.is_as_then) for one in after.nodes] == [
        ("files", None),
        ("text", None),
        ("chunk", False),
        ("embed", True),
    ]
    said = "; ".join(after.unknown)
    for what in (
        "there is no topic",
        "no longer has such a node",
        "'chunk' was configured then",
        "the run that read it",
    ):
        assert what in said, what
    same = (
        "text",
        "span",
        "key",
        "source_uri",
        "version",
        "document_version",
        "topic",
        "partition",
        "observed_at",
    )
    assert [getattr(after, one) for one in same] == [getattr(before, one) for one in same]
    assert not (embedded.folder / ".nvisy" / "log").exists(), "looking makes no log"


def test_a_document_leads_to_every_record_in_every_sink(embedded: Pipeline) -> None:
    graph = embedded.graph
    graph["nodes"][4:] = [embedded.sink("one"), embedded.sink("two")]
    graph["edges"] = edges("files>text", "text>chunk", "chunk>embed", "embed>one", "embed>two")
    embedded.write({"a.md": text(1), "b.md": text(2), "c.md": text(3)})
    embedded.run()
    embedded.write({"a.md": text(1) + "\n\nAnd a passage more, of which nobody has heard.\n"})
    (embedded.docs / "c.md").unlink()
    embedded.run()
    came = nvisy.descent(checked(embedded), "a.md", settings=embedded.settings)
    assert [held.sink for held in came.sinks] == ["one", "two"]
    for held in came.sinks:
        assert [one.id for one in held.records] == [hit.id for hit in embedded.records(held.sink, "a.md")]
        versions = {one.version for one in held.records}
        assert held.version == max(versions)
        assert len(versions) == 2, "what did not change bears the version that wrote it"
        assert {one.document_version for one in held.records} == {held.version}
        first = next(one for one in held.records if one.version != held.version)
        assert first.in_log is not None, "nothing was compacted"
    gone = nvisy.descent(checked(embedded), "c.md", settings=embedded.settings)
    assert [(held.sink, held.records) for held in gone.sinks] == [("one", ()), ("two", ())]
    assert all(isinstance(held.version, Version) for held in gone.sinks)
    assert nvisy.descent(checked(embedded), "never.md", settings=embedded.settings).sinks == ()


def test_a_record_of_a_foreign_topic_is_found_in_the_partition_it_stands_in(embedded: Pipeline) -> None:
    """The index keeps its offset, and not its partition: the log is asked for both."""
    embedded.graph["nodes"][:2] = [
        {
            "id": "files",
            "type": "source",
            "provider": "topic",
            "params": {"topic": "theirs", "format": "json", "key": "name", "text": "text"},
        }
    ]
    embedded.graph["edges"] = edges("files>chunk", "chunk>embed", "embed>index")
    with closing(embedded.settings.open_log()) as log:
        log.create("theirs", 5)
        values = [orjson.dumps({"name": f"doc {n}", "text": f"text number {n}"}) for n in range(10)]
        append_outside(
            log,
            "theirs",
            "/test",
            [Append("theirs", n % 5, b"k%d" % n, value) for n, value in enumerate(values)],
        )
    embedded.run()
    hit = embedded.records(key="doc 8")[0]
    found = nvisy.lineage(checked(embedded), hit.id, settings=embedded.settings)
    assert (found.topic, found.partition, found.version.off) == ("theirs", 3, 1)


def test_the_command_draws_both_ways(
    embedded: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NVISY_STATE", str(embedded.settings.state))
    monkeypatch.delenv("NVISY_LOG", raising=False)

    def said(*words: str) -> tuple[int, str]:
        code = call(["lineage", str(embedded.save()), *words])
        return code, capsys.readouterr().out

    embedded.write({"a.md": "one passage\x1b[31m, and no more"})
    embedded.run()
    hit = embedded.records()[0]
    code, out = said(hit.id)
    assert code == 0
    order = [hit.id, "│ one passage\\x1b", "↑ embed", "↑ chunk", "↑ text", "↑ files", "└ a.md", "not known:"]
    places = [out.index(one) for one in order]
    assert places == sorted(places)
    assert "\x1b" not in out
    code, out = said("--key", "a.md")
    assert (code, out.splitlines()[0]) == (0, "a.md")
    assert f"└ {hit.id}" in out
    assert orjson.loads(said(hit.id, "--json")[1])["key"] == "a.md"
    assert orjson.loads(said("--key", "a.md", "--json")[1])["sinks"][0]["records"][0]["id"] == hit.id
    assert said("no-such-id")[0] == said()[0] == said(hit.id, "--key", "a.md")[0] == UsageError.exit_code
    with pytest.raises(UsageError, match="nvisy records"):
        nvisy.lineage(checked(embedded), "no-such-id", settings=embedded.settings)


def checked(pipeline: Pipeline) -> CheckedGraph:
    """The graph of a pipeline as it is now."""
    return check(Graph.load(pipeline.save()), Catalog.installed(), pipeline.environ)
