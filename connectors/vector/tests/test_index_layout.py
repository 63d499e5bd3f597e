"""`docs/index-layout.md` is true: its examples run, and its table names every field that a store holds."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import apsw
import psycopg
import pytest
from nvisy_vector._layout import FORMAT, READABLE
from nvisy_vector.pgvector import PgvectorParams, PgvectorSink
from nvisy_vector.qdrant import QdrantParams, QdrantSink
from nvisy_vector.sqlite import SqliteParams, SqliteSink

from nvisy.testing.records import OWNER, make_set, vector_of
from nvisy.testing.sink_conformance import texts

from .qdrant_double import QdrantDouble

DOCUMENT = (Path(__file__).parents[3] / "docs" / "index-layout.md").read_text()
DIMENSIONS = 256
VECTOR = vector_of("one", DIMENSIONS).tolist()
GRAPH = {
    "name": "docs",
    "nodes": [
        {"id": "files", "type": "source", "provider": "object/files", "params": {"path": "."}},
        {"id": "text", "type": "action", "action": "extract"},
        {"id": "embed", "type": "action", "action": "embed", "params": {"model": "local/hash"}},
        {
            "id": "index",
            "type": "sink",
            "provider": "vector/sqlite",
            "params": {"path": "index.db", "collection": "docs"},
        },
    ],
    "edges": [
        {"from": "files", "to": "text"},
        {"from": "text", "to": "embed"},
        {"from": "embed", "to": "index"},
    ],
}


def example(language, store):
    found = re.search(rf"```{language} {store}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    return found.group(1)


def fill(sink, **owner):
    sink.prepare(replace(OWNER, dimensions=DIMENSIONS, **owner))
    with closing(sink.open(1)) as writer:
        writer.apply(
            [
                make_set("a.md", ["one", "two"], metadata={"lang": "en"}, dimensions=DIMENSIONS),
                make_set("b.md", ["eins"], metadata={"lang": "de"}, dimensions=DIMENSIONS),
            ]
        )
    return sink


def run(store, **names):
    scope = {"vector": VECTOR, **names}
    exec(example("python", store), scope)
    return scope["rows"]


def found(rows):
    assert rows[0][2] == pytest.approx(0, abs=1e-5)
    return [(text, key) for text, key, _ in rows]


@pytest.fixture
def qdrant(tmp_path):
    double = QdrantDouble(tmp_path)
    yield double
    double.close()


def test_it_names_every_field_and_the_layout():
    table = DOCUMENT[DOCUMENT.index("## A record") : DOCUMENT.index("## Names")]
    assert set(re.findall(r"`(\w+)`", table)) >= {*READABLE, "embedding"}
    assert f"layout\n**{FORMAT}**" in DOCUMENT


def test_a_question_is_embedded_as_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))
    fill(SqliteSink(SqliteParams(path=Path("index.db"), collection="docs")), model="local/hash@1")
    scope = {}
    exec(example("python", "question"), scope)
    assert len(scope["vector"]) == DIMENSIONS
    assert len(run("sqlite", vector=scope["vector"])) == 2


def test_sqlite_is_queried_as_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(SqliteSink(SqliteParams(path=Path("index.db"), collection="docs")))
    assert found(run("sqlite")) == [("one", "a.md"), ("two", "a.md")]


@pytest.mark.postgres
def test_postgres_is_queried_as_it_says(pg_dsn):
    fill(PgvectorSink(PgvectorParams(dsn=pg_dsn, collection="docs")))
    assert found(run("pgvector", dsn=pg_dsn)) == [("one", "a.md"), ("two", "a.md")]


def test_qdrant_is_queried_as_it_says(qdrant):
    fill(QdrantSink(QdrantParams(url=qdrant.url, collection="docs")))
    assert found(run("qdrant", url=qdrant.url)) == [("one", "a.md"), ("two", "a.md")]


def test_a_table_of_ones_own_in_sqlite_is_as_it_says(tmp_path):
    path = tmp_path / "index.db"
    apsw.Connection(str(path)).execute(example("sql", "sqlite"))
    assert texts(fill(SqliteSink(SqliteParams(path=path, collection="docs", create=False)))) == {
        "one",
        "two",
        "eins",
    }


@pytest.mark.postgres
def test_a_table_of_ones_own_in_postgres_is_as_it_says(pg_dsn):
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute(example("sql", "pgvector"))
    sink = fill(PgvectorSink(PgvectorParams(dsn=pg_dsn, collection="docs", create=False)))
    assert texts(sink) == {"one", "two", "eins"}


def test_records_hold_the_fields_that_the_table_names(tmp_path, qdrant):
    path = tmp_path / "index.db"
    fill(SqliteSink(SqliteParams(path=path, collection="docs")))
    columns = {row[1] for row in apsw.Connection(str(path)).execute("PRAGMA table_info(docs)")}
    assert columns == {*READABLE, "embedding"}
    fill(QdrantSink(QdrantParams(url=qdrant.url, collection="docs")))
    points = qdrant.answer("POST", "/collections/docs/points/scroll", {"limit": 1})["points"]
    assert {*points[0]["payload"], "id", "embedding"} == columns | {"metadata_fields", "token"}
