"""`forget`: a text that was in a document is found nowhere afterwards, in no file and no store, and stays away."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import orjson
import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from qdrant_client import QdrantClient

import nvisy
from connectors.vector.tests.qdrant_double import QdrantDouble
from nvisy.catalog import Catalog
from nvisy.cli.main import call
from nvisy.erasure.forget import ForgetReport
from nvisy.errors import Refused, UsageError
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.testing.model_server import ModelServer
from nvisy.topics.embedded.log import EmbeddedLog
from nvisy.topics.log import LogRecord
from tests.flow.pipeline import Pipeline, edges, text
from tests.flow.test_topics import produce

CANARY = "Wilhelmina Quarzfeld lives at 17 Nightjar Close"
GUARD = """
from pathlib import Path
from nvisy.primitives import Document

def guard(document: Document) -> Document:
    if b"poison" in (document.content or document.text.encode()):
        raise ValueError("not this: " + document.text)
    return document
"""


def test_a_text_is_found_in_no_file_once_its_document_is_forgotten(embedded: Pipeline) -> None:
    pipeline = guarded(embedded)
    pipeline.write({"a.md": text(1), "ada.md": f"{text(2)}\n\n{CANARY}.\n", "b.md": text(3)})
    pipeline.run()
    pipeline.write({"ada.md": f"{CANARY}, as before.\n\n{text(4)}"})
    pipeline.run()
    pipeline.write({"ada.md": f"poison {CANARY}"})
    assert pipeline.run().dead_letters == 1
    assert len(list(holding(pipeline.settings.state))) >= 4, "the log's topics, the dead letters, the index"
    report = forgotten(pipeline, "ada.md")
    assert list(holding(pipeline.settings.state)) == []
    assert report.is_gone
    assert (report.at_source, report.letters) == (True, 0), "the delete that passed closed the letter"
    assert {place.name for place in report.places if place.gone} >= {
        "sink index",
        f"topic {pipeline.name}.files",
        f"topic {pipeline.name}.embed",
        f"topic {pipeline.name}.dlq",
    }
    assert pipeline.keys() == {"a.md", "b.md"}
    assert pipeline.dead_letters() == []


@pytest.mark.parametrize("store", [pytest.param("pgvector", marks=pytest.mark.postgres), "qdrant"])
def test_no_store_gives_it_out_any_more(
    store: str, embedded: Pipeline, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "qdrant").mkdir()
    with closing(QdrantDouble(tmp_path / "qdrant")) as double:
        if store == "qdrant":
            params = {"url": double.url, "collection": "index"}
        else:
            params = {"dsn": request.getfixturevalue("pg_dsn"), "collection": "index"}
        embedded.graph["nodes"][-1].update(provider=f"vector/{store}", params=params)
        embedded.write({"a.md": text(1), "ada.md": f"{text(2)}\n\n{CANARY}.\n"})
        embedded.run()
        given_out = everything_in_qdrant if store == "qdrant" else everything_in_postgres
        assert CANARY in given_out(params)
        report = forgotten(embedded, "ada.md")
        assert CANARY not in given_out(params)
        assert embedded.keys() == {"a.md"}
        assert list(holding(embedded.settings.state)) == []
        (said,) = [place.until for place in report.places if place.name == "sink index"]
        assert ("VACUUM FULL" in said) == (store == "pgvector"), (
            "what may be left in the store's files is said"
        )


@pytest.mark.kafka
def test_on_a_broker_it_is_gone_once_its_topics_are_compacted_and_until_then_it_says_so(
    on_kafka: Pipeline,
) -> None:
    pipeline = guarded(on_kafka)
    pipeline.graph["log"] = {
        "partitions": 1
    }  # a segment that is written to is not compacted: others write on
    make_eager_topics(pipeline)
    pipeline.write({"a.md": text(1), "ada.md": f"{text(2)}\n\n{CANARY}.\n"})
    pipeline.run()
    pipeline.write({"ada.md": f"poison {CANARY}", "b.md": "poison too"})
    pipeline.run()
    assert any(CANARY.encode() in (record.value or b"") for record in everything_in_topics(pipeline))
    report = forgotten(pipeline, "ada.md")
    left = {place.name: place for place in report.places if place.left}
    assert not report.is_gone
    assert f"topic {pipeline.name}.files" in left
    assert "max.compaction.lag.ms=" in left[f"topic {pipeline.name}.files"].until
    assert list(holding(pipeline.settings.state)) == []
    deadline = time.monotonic() + 90
    number = 0
    while any(CANARY.encode() in whole(record) for record in everything_in_topics(pipeline)):
        assert time.monotonic() < deadline, "compaction did not remove it"
        number += 1
        pipeline.write({"a.md": text(100 + number), "b.md": f"poison {number}"})
        pipeline.run()
    assert pipeline.keys() == {"a.md"}


def test_it_stays_away_until_it_is_let_in_again(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1), "ada.md": CANARY})
    embedded.run()
    assert forgotten(embedded, "ada.md").at_source
    again = embedded.run()
    assert (again.state, again.written, again.removed) == ("completed", 0, 0)
    embedded.write({"ada.md": f"{CANARY}, edited"})
    embedded.run(adopt=True)
    assert embedded.keys() == {"a.md"}
    assert list(holding(embedded.settings.state)) == []
    (mark,) = nvisy.forgotten(checked(embedded), settings=embedded.settings)
    assert (mark.source, mark.key) == ("files", "ada.md")
    assert forgotten(embedded, "ada.md").is_gone, "to do it twice is fine"
    (embedded.docs / "ada.md").unlink()
    assert forgotten(embedded, "ada.md").at_source is False
    embedded.write({"ada.md": "Another document by that name."})
    nvisy.readmit(checked(embedded), "ada.md", settings=embedded.settings)
    embedded.run()
    assert embedded.keys() == {"a.md", "ada.md"}
    with pytest.raises(UsageError, match=r"no document 'ada\.md'"):
        nvisy.readmit(checked(embedded), "ada.md", settings=embedded.settings)


def test_a_record_of_a_file_of_records_goes_and_the_others_stay(embedded: Pipeline) -> None:
    embedded.graph["nodes"][0]["params"] = {"path": "docs", "format": "jsonl"}
    del embedded.graph["nodes"][1]
    embedded.graph["edges"] = edges("files>chunk", "chunk>embed", "embed>index")
    lines = [{"id": 1, "text": "one river"}, {"id": 2, "text": CANARY}]
    embedded.write({"people.jsonl": b"\n".join(map(orjson.dumps, lines))})
    embedded.run()
    assert forgotten(embedded, "people.jsonl#2").at_source
    embedded.write({"people.jsonl": b"\n".join(map(orjson.dumps, [*lines, {"id": 3, "text": "stones"}]))})
    embedded.run()
    assert embedded.keys() == {"people.jsonl#1", "people.jsonl#3"}
    assert list(holding(embedded.settings.state)) == []


def test_what_others_write_into_a_topic_counts_as_deleted(pipeline: Pipeline, unique_name: str) -> None:
    """The record stays with those who wrote it, and every stage that reads it takes it for a delete."""
    topic = f"{unique_name}-articles"
    pipeline.graph["nodes"][:2] = [
        {"id": "articles", "type": "source", "provider": "topic", "params": {"topic": topic, "text": "body"}}
    ]
    pipeline.graph["edges"] = edges("articles>chunk", "chunk>embed", "embed>index")
    produce(pipeline, topic, {"1": {"body": "one river"}, "2": {"body": CANARY}})
    pipeline.run()
    report = forgotten(pipeline, "2")
    assert pipeline.keys() == {"1"}
    assert (report.at_source, "topic" in report.source_said) == (None, True)
    produce(pipeline, topic, {"2": {"body": f"{CANARY} again"}, "3": {"body": "stones"}})
    pipeline.run()
    assert pipeline.keys() == {"1", "3"}
    assert nvisy.verify(checked(pipeline), settings=pipeline.settings).is_clean


def test_a_text_that_was_too_large_for_a_message_is_gone_with_its_blobs(embedded: Pipeline) -> None:
    """Also those of former versions, which compaction left behind without a record."""
    small = {"id": "small", "type": "action", "action": "filter", "params": {"when": "size(text) < 1000"}}
    embedded.graph["nodes"].insert(2, small)
    embedded.graph["edges"] = edges("files>text", "text>small", "small>chunk", "chunk>embed", "embed>index")
    for number in range(2):
        embedded.write(
            {"ada.txt": f"{CANARY} {number}\n" + "so it goes on and on " * 850_000, "b.txt": "a river"}
        )
        embedded.run()
    blobs = embedded.settings.state / "blobs"
    with closing(EmbeddedLog(embedded.settings.state / "log")) as log:
        log.compact(f"{embedded.name}.files")
    assert len([path for path in blobs.rglob("*") if path.is_file()]) >= 2
    report = forgotten(embedded, "ada.txt")
    assert [path for path in blobs.rglob("*") if path.is_file()] == []
    assert list(holding(embedded.settings.state)) == []
    assert report.is_gone


def test_vectors_leave_the_cache(embedded: Pipeline) -> None:
    with ModelServer() as server:
        embedded.graph = embedded.chain(model="openai/small", dimensions=8, connection=None)
        embed = next(node for node in embedded.graph["nodes"] if node["id"] == "embed")
        del embed["params"]["connection"]
        embed["connection"] = "c1"
        embedded.graph["connections"] = {"c1": {"provider": "openai", "params": {"baseUrl": server.url}}}
        embedded.write({"a.md": text(1), "ada.md": f"{text(2)}\n\n{CANARY}"})
        embedded.run()
        before = cached(embedded)
        report = forgotten(embedded, "ada.md")
        (gone,) = [place.gone for place in report.places if place.name == "cache of vectors"]
        assert 0 < gone == before - cached(embedded)
        assert cached(embedded) > 0, "those of others stay"
        forgotten(embedded, "ada.md", clear_cache=True)
        assert cached(embedded) == 0


def test_a_topic_that_the_graph_no_longer_has_is_not_left_out(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1), "ada.md": f"{text(2)}\n\n{CANARY}"})
    embedded.run()
    embedded.graph["nodes"][3]["id"] = "vectors"
    embedded.graph["edges"] = edges("files>text", "text>chunk", "chunk>vectors", "vectors>index")
    embedded.run()
    forgotten(embedded, "ada.md")
    assert list(holding(embedded.settings.state)) == []
    assert embedded.keys() == {"a.md"}


def test_a_topic_for_other_programs_loses_what_its_tombstone_voids(
    embedded: Pipeline, unique_name: str
) -> None:
    out = {"id": "out", "type": "sink", "provider": "topic", "params": {"topic": f"{unique_name}-out"}}
    embedded.graph["nodes"][3:] = [out]
    embedded.graph["edges"] = edges("files>text", "text>chunk", "chunk>out")
    embedded.write({"a.md": text(1), "ada.md": CANARY})
    embedded.run()
    forgotten(embedded, "ada.md")
    assert list(holding(embedded.settings.state)) == []
    with closing(embedded.settings.open_log()) as log:
        keys = [(record.key, record.value is None) for record in log.scan(f"{unique_name}-out")]
    assert (b"ada.md", True) in keys
    assert (b"a.md", False) in keys


def test_a_live_run_is_named_and_nothing_is_done(embedded: Pipeline) -> None:
    embedded.write({"ada.md": CANARY})
    embedded.run()
    with closing(embedded.settings.open_log()) as log:
        claim = log.claim(embedded.name, "somewhere:123")
        with pytest.raises(Refused, match="somewhere:123"):
            forgotten(embedded, "ada.md")
        claim.release()
    assert embedded.keys() == {"ada.md"}
    assert nvisy.forgotten(checked(embedded), settings=embedded.settings) == []


def test_a_key_that_nobody_knows_and_one_that_several_know_are_refused(embedded: Pipeline) -> None:
    (embedded.folder / "more").mkdir()
    (embedded.folder / "more" / "ada.md").write_text("another Ada")
    more = {"id": "more", "type": "source", "provider": "object/files", "params": {"path": "more"}}
    embedded.graph["nodes"].insert(1, more)
    embedded.graph["edges"] += edges("more>text")
    embedded.write({"ada.md": CANARY})
    embedded.run()
    with pytest.raises(UsageError, match=r"knows a document 'eve\.md'"):
        forgotten(embedded, "eve.md")
    with pytest.raises(UsageError, match=r"files and more"):
        forgotten(embedded, "ada.md")
    with pytest.raises(UsageError, match="no source 'index'"):
        forgotten(embedded, "ada.md", source="index")
    forgotten(embedded, "ada.md", source="files")
    assert {hit.text for hit in embedded.records()} == {"another Ada"}
    assert list(holding(embedded.settings.state)) == []


def test_the_command_says_what_is_gone_and_what_stays(
    embedded: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NVISY_STATE", str(embedded.settings.state))
    monkeypatch.delenv("NVISY_LOG", raising=False)
    embedded.write({"a.md": text(1), "ada.md": CANARY})
    embedded.run()

    def said(*words: str) -> tuple[int, str]:
        code = call(["forget", str(embedded.save()), *words])
        return code, capsys.readouterr().out

    code, out = said("--key", "ada.md")
    assert code == 0
    assert "gone       sink index: 1" in out
    assert "files still lists it: remove it there" in out
    assert out.endswith("nothing of its text is left\n")
    assert CANARY not in out
    assert orjson.loads(said("--list", "--json")[1])[0]["key"] == "ada.md"
    assert "ada.md" in said("--list")[1]
    assert orjson.loads(said("--key", "ada.md", "--json")[1])["gone"] is True
    assert said("--key", "ada.md", "--readmit") == (0, "ada.md of files may come again\n")
    assert said("--list")[1] == "no document was forgotten\n"
    assert (
        said()[0] == said("--list", "--key", "a.md")[0] == said("--key", "eve.md")[0] == UsageError.exit_code
    )


def everything_in_qdrant(params: dict[str, Any]) -> str:
    client = QdrantClient(url=params["url"], check_compatibility=False)
    names = [one.name for one in client.get_collections().collections]
    return repr([client.scroll(name, limit=10_000, with_payload=True)[0] for name in names])


def everything_in_postgres(params: dict[str, Any]) -> str:
    with psycopg.connect(params["dsn"]) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        return repr([connection.execute(f'SELECT t::text FROM "{name}" t').fetchall() for (name,) in tables])  # type: ignore[arg-type]


def make_eager_topics(pipeline: Pipeline) -> None:
    """The topics of a graph, so set that they are compacted within a second."""
    eager = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.001",
        "min.compaction.lag.ms": "0",
        "max.compaction.lag.ms": "1000",
    }
    admin = AdminClient({"bootstrap.servers": (pipeline.settings.log_url or "").removeprefix("kafka://")})
    names = [f"{pipeline.name}.{name}" for name in ("files", "embed", "dlq")]
    for made in admin.create_topics([NewTopic(name, 1, 1, config=eager) for name in names]).values():
        made.result()


def everything_in_topics(pipeline: Pipeline) -> list[LogRecord]:
    with closing(pipeline.settings.open_log()) as log:
        ours = [name for name in log.topics() if name.startswith(pipeline.name)]
        return [record for name in ours for record in log.scan(name)]


def whole(record: LogRecord) -> bytes:
    return b"\0".join([record.value or b"", *(value for _, value in record.headers)])


def cached(pipeline: Pipeline) -> int:
    with closing(apsw.Connection(str(pipeline.settings.state / "embeddings.db"))) as cache:
        (count,) = cache.execute("SELECT count(*) FROM vectors").fetchone() or (0,)
    return int(count)


def holding(folder: Path) -> Iterator[Path]:
    """Files below a folder that hold the canary."""
    for root, _, names in os.walk(folder):
        for name in names:
            if CANARY.encode() in (Path(root) / name).read_bytes():
                yield Path(root) / name


def guarded(pipeline: Pipeline) -> Pipeline:
    """A chain with a step of the user's that refuses some documents, and quotes them."""
    graph = pipeline.chain()
    graph["nodes"].insert(
        2, {"id": "guard", "type": "action", "action": "python", "params": {"function": "guard:guard"}}
    )
    graph["edges"] = edges("files>text", "text>guard", "guard>chunk", "chunk>embed", "embed>index")
    pipeline.graph = graph
    (pipeline.folder / "guard.py").write_text(GUARD)
    return pipeline


def forgotten(pipeline: Pipeline, key: str, **options: object) -> ForgetReport:
    return nvisy.forget(checked(pipeline), key, settings=pipeline.settings, **options)  # type: ignore[arg-type]


def checked(pipeline: Pipeline) -> CheckedGraph:
    """The graph of a pipeline as it is now."""
    return check(Graph.load(pipeline.save()), Catalog.installed(), pipeline.environ)
