"""The graphs in `dataflows/`, run as they are, over the project's own documentation."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest
from jsonschema import Draft202012Validator

from nvisy.connector.sink import Hit
from nvisy.graph.model import Graph
from nvisy.query import records, search
from nvisy.rebuilding.live import run
from nvisy.runtime.counters import Report
from nvisy.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
GRAPHS = sorted(path.name for path in (ROOT / "dataflows").glob("*.json"))
DUPLICATE, SHORT = "zz-copy.md", "zz-short.md"


class Workspace:
    """A copy of `dataflows/` and `docs/`, and the log that graphs run on."""

    def __init__(self, folder: Path, log_url: str | None = None) -> None:
        self.docs = folder / "docs"
        self._graphs = folder / "dataflows"
        self._settings = Settings(folder / "state", log_url)
        shutil.copytree(
            ROOT / "dataflows", self._graphs, ignore=shutil.ignore_patterns(".nvisy", "__pycache__")
        )
        shutil.copytree(ROOT / "docs", self.docs)

    def run(self, name: str) -> Report:
        return run(self._graph(name), settings=self._settings)

    def records(self, name: str, sink: str = "index") -> list[Hit]:
        return list(records(self._graph(name), sink=sink, settings=self._settings))

    def search(self, name: str, question: str) -> list[Hit]:
        return search(self._graph(name), question, 3, settings=self._settings)

    def documents(self) -> set[str]:
        return {path.relative_to(self.docs).as_posix() for path in self.docs.rglob("*.md")}

    def _graph(self, name: str) -> Graph:
        return Graph.load(self._graphs / f"{name}.json")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "embedded")


def test_documents_become_vectors_and_a_second_run_does_nothing(workspace: Workspace):
    name = "documents_to_vectors"
    first = workspace.run(name)
    found = workspace.records(name)
    assert first.state == "completed"
    assert first.written == len(found)
    assert {hit.key for hit in found} == workspace.documents()
    hits = workspace.search(name, "why does a run end by end offsets?")
    assert "decisions/0001-a-run-ends-by-end-offsets.md" in {hit.key for hit in hits}
    second = workspace.run(name)
    assert (second.state, second.written, second.removed, second.model_calls) == ("completed", 0, 0, 0)


def test_code_and_prose_reach_both_indexes_and_a_duplicate_neither(workspace: Workspace):
    name = "branch_and_fanout"
    original = sorted(workspace.documents())[-1]
    shutil.copy(workspace.docs / original, workspace.docs / DUPLICATE)
    (workspace.docs / "code.md").write_text(
        f"# Code\n\n{'A paragraph. ' * 60}\n\n```sh\nnvisy run graph.json\n```\n"
    )
    (workspace.docs / SHORT).write_text("Too short.\n")

    report = workspace.run(name)

    assert report.state == "completed"
    words, meanings = workspace.records(name, "words"), workspace.records(name, "meanings")
    assert report.written == len(words) + len(meanings)
    assert said(words) == said(meanings)
    assert {hit.key for hit in words} == workspace.documents() - {DUPLICATE, SHORT}
    assert {hit.metadata["kind"] for hit in words} == {"code", "prose"}
    for hit in words:
        assert (hit.metadata["kind"] == "code") == ("```" in hit.text)
        assert hit.metadata["words"] == len(hit.text.split())

    (workspace.docs / original).unlink()
    workspace.run(name)
    assert {hit.key for hit in workspace.records(name, "words")} == workspace.documents() - {SHORT}


@pytest.mark.kafka
def test_branch_and_fanout_gives_the_same_records_on_kafka(
    workspace: Workspace, tmp_path: Path, kafka_url: str
):
    name = "branch_and_fanout"
    on_kafka = Workspace(tmp_path / "kafka", kafka_url)
    assert workspace.run(name).state == on_kafka.run(name).state == "completed"
    for sink in ("words", "meanings"):
        ids = {hit.id for hit in workspace.records(name, sink)}
        assert ids
        assert ids == {hit.id for hit in on_kafka.records(name, sink)}


@pytest.mark.kafka
@pytest.mark.postgres
def test_articles_of_a_topic_become_rows_in_postgres(
    tmp_path: Path, kafka_url: str, pg_dsn: str, unique_name: str, monkeypatch: pytest.MonkeyPatch
):
    name = "topic_to_pgvector"
    monkeypatch.setenv("PG_DSN", pg_dsn)
    monkeypatch.setenv("ARTICLES_TOPIC", unique_name)
    workspace = Workspace(tmp_path, kafka_url)
    articles = {
        "rivers": {"title": "Rivers", "body": "The Danube rises in the Black Forest."},
        "bread": {"title": "Bread", "body": "Sourdough needs flour, water, salt and a day of patience."},
    }
    produce(kafka_url, unique_name, [(key, orjson.dumps(article)) for key, article in articles.items()])

    assert workspace.run(name).state == "completed"
    assert {hit.key: (hit.text, hit.metadata) for hit in workspace.records(name)} == {
        key: (article["body"], {"title": article["title"]}) for key, article in articles.items()
    }
    assert workspace.search(name, "how is a loaf baked?")[0].key == "bread"

    produce(kafka_url, unique_name, [("bread", None)])
    assert workspace.run(name).removed == 1
    assert {hit.key for hit in workspace.records(name)} == {"rivers"}


@pytest.mark.postgres
def test_rows_of_a_table_become_vectors_and_follow_it(
    workspace: Workspace, pg_dsn: str, monkeypatch: pytest.MonkeyPatch
):
    import psycopg
    from nvisy_sql.postgres import default_name

    name = "postgres_to_vectors"
    monkeypatch.setenv("PG_DSN", pg_dsn)
    with psycopg.connect(pg_dsn, autocommit=True) as database:
        database.execute("CREATE TABLE articles (id int PRIMARY KEY, title text NOT NULL, body text)")
        database.execute("INSERT INTO articles VALUES (1, 'Rivers', 'The Danube rises in the Black Forest.')")
        database.execute("INSERT INTO articles VALUES (2, 'Bread', NULL)")
        try:
            assert workspace.run(name).state == "completed"
            assert workspace.search(name, "where does the Danube begin?")[0].key == "public.articles/1"
            database.execute("UPDATE articles SET body = 'A loaf is baked of flour.' WHERE id = 2")
            database.execute("DELETE FROM articles WHERE id = 1")
            workspace.run(name)
            assert [hit.text for hit in workspace.records(name)] == ["Bread\n\nA loaf is baked of flour."]
        finally:
            database.execute("SELECT pg_drop_replication_slot(%s)", [default_name(name, "articles")])


def test_the_graph_written_in_python_is_the_graph_in_the_file():
    built = runpy.run_path(str(ROOT / "dataflows" / "code" / "branch_and_fanout.py"))["build"]()
    loaded = Graph.load(ROOT / "dataflows" / "branch_and_fanout.json")
    assert built.value() == {name: value for name, value in loaded.value().items() if name != "$schema"}


@pytest.mark.parametrize("name", GRAPHS)
def test_an_editor_that_goes_by_the_schema_finds_no_fault(name: str):
    schema = orjson.loads((ROOT / "schemas" / "graph.schema.json").read_bytes())
    graph = orjson.loads((ROOT / "dataflows" / name).read_bytes())
    assert [error.message for error in Draft202012Validator(schema).iter_errors(graph)] == []


@pytest.mark.parametrize("name", [*GRAPHS, "code/branch_and_fanout.py"])
def test_every_dataflow_has_its_line_in_the_readme(name: str):
    assert f"| [{name}]({name}) |" in (ROOT / "dataflows" / "README.md").read_text()


def said(hits: Sequence[Hit]) -> list[tuple[str, str]]:
    return sorted((hit.key, hit.text) for hit in hits)


def produce(kafka_url: str, topic: str, values: Sequence[tuple[str, bytes | None]]) -> None:
    """Append records as another program would; the topic is made if need be."""
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    settings = {"bootstrap.servers": kafka_url.removeprefix("kafka://")}
    admin = AdminClient(settings)
    if topic not in admin.list_topics(timeout=10).topics:
        admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(10)
    producer = Producer(settings)
    for key, value in values:
        producer.produce(topic, value, key.encode())
    assert producer.flush(10) == 0
