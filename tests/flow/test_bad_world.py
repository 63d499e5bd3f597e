"""The world around a run goes wrong: a clear end, the right exit code, and nothing lost when it runs again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nvisy.errors import NvisyError
from tests.flow.pipeline import Pipeline, edges, text
from tests.servers.kafka import KafkaServer
from tests.servers.postgres import PostgresServer

REPOSITORY = Path(__file__).parents[2]
MANY = 3000
"""Documents whose records do not fit one batch of a sink: so there is a middle to die in."""


def nvisy(pipeline: Pipeline, *arguments: str, prefix: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    command = f'{prefix} exec "{sys.executable}" -m nvisy {" ".join(arguments)}'
    pipeline.save()
    return subprocess.run(
        ["bash", "-c", command],
        cwd=pipeline.folder,
        env=pipeline.environ,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def with_pgvector(pipeline: Pipeline) -> None:
    pipeline.graph["nodes"][-1] = {
        "id": "index",
        "type": "sink",
        "provider": "vector/pgvector",
        "params": {"dsn": "${PG_DSN}", "collection": "docs"},
    }


def test_a_broker_that_is_not_there_is_named(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path, "nobroker", "kafka://127.0.0.1:9")
    pipeline.write({"a.md": text(1)})
    done = nvisy(pipeline, "run", "graph.json", "--json")
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_a_broker_that_dies_midway_is_waited_for_when_the_graph_is_followed(
    tmp_path: Path, unique_name: str, own_kafka: KafkaServer
) -> None:
    pipeline = Pipeline(tmp_path, unique_name, f"kafka://{own_kafka.bootstrap}")
    pipeline.write({f"{seed}.md": text(seed) for seed in range(300)})
    process = pipeline.start("--follow")
    try:
        wait_for(lambda: len(stored_keys(pipeline)) > 20)
        own_kafka.kill()
        time.sleep(1)
        assert process.poll() is None
        own_kafka.start()
        pipeline.write({"later.md": text(999)})
        wait_for(lambda: len(stored_keys(pipeline)) == 301)
    finally:
        process.terminate()
        _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err.decode()
    assert pipeline.keys() == {"later.md", *(f"{seed}.md" for seed in range(300))}, err.decode()


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_a_broker_that_dies_midway_ends_a_bounded_run_and_the_next_one_completes(
    tmp_path: Path, unique_name: str, own_kafka: KafkaServer
) -> None:
    pipeline = Pipeline(tmp_path, unique_name, f"kafka://{own_kafka.bootstrap}")
    pipeline.write({f"{seed}.md": text(seed) for seed in range(MANY)})
    process = pipeline.start()
    wait_for(lambda: len(stored_keys(pipeline)) > 0)
    own_kafka.kill()
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert len(pipeline.keys()) < MANY
    own_kafka.start()
    assert pipeline.run().state == "completed"
    assert len(pipeline.keys()) == MANY


@pytest.mark.postgres
def test_a_sink_that_is_not_there_is_named_without_its_password(embedded: Pipeline) -> None:
    embedded.environ["PG_DSN"] = "postgresql://someone:hunter2secret@127.0.0.1:9/nothing"
    with_pgvector(embedded)
    embedded.write({"a.md": text(1)})
    done = nvisy(embedded, "run", "graph.json", "--json")
    assert done.returncode == 3
    assert "127.0.0.1" in done.stderr
    assert "hunter2secret" not in done.stderr + done.stdout
    held = "".join(
        file.read_bytes().decode("latin-1") for file in embedded.folder.rglob("*") if file.is_file()
    )
    assert "hunter2secret" not in held


@pytest.mark.postgres
@pytest.mark.timeout(400)
def test_a_sink_that_dies_midway_is_waited_for(embedded: Pipeline, own_postgres: PostgresServer) -> None:
    embedded.environ["PG_DSN"] = own_postgres.create_database()
    with_pgvector(embedded)
    embedded.write({f"{seed}.md": text(seed) for seed in range(200)})
    process = embedded.start("--follow")
    try:
        wait_for(lambda: len(stored_keys(embedded)) > 20)
        own_postgres.kill()
        embedded.write({"later.md": text(999)})
        time.sleep(1)
        assert process.poll() is None
        own_postgres.start()
        wait_for(lambda: len(stored_keys(embedded)) == 201)
    finally:
        process.terminate()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err.decode()
    assert b'"state":"completed"' in out


def stored_keys(pipeline: Pipeline) -> set[str]:
    """Keys in the index, none while the store cannot be asked."""
    try:
        return pipeline.keys()
    except NvisyError:
        return set()


def wait_for(condition: Callable[[], bool], deadline_s: float = 180.0) -> None:
    until = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.1)


def test_a_collection_of_other_dimensions_is_refused_naming_both(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1)})
    embedded.run()
    embedded.graph["nodes"][3]["params"]["dimensions"] = 32
    done = nvisy(embedded, "run", "graph.json")
    assert done.returncode != 0
    assert "64" in done.stderr
    assert "32" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_full_disk_is_an_error_for_people_and_loses_nothing(embedded: Pipeline) -> None:
    embedded.write({f"{seed}.md": text(seed, paragraphs=20) for seed in range(300)})
    full = nvisy(embedded, "run", "graph.json", prefix="ulimit -f 300;")
    assert full.returncode != 0
    assert "Traceback" not in full.stderr
    assert full.stderr.strip()
    report = embedded.run()
    assert report.state == "completed"
    assert len(embedded.keys()) == 300


def test_a_second_run_of_the_same_graph_is_refused_naming_the_first(embedded: Pipeline) -> None:
    embedded.write({"a.md": text(1)})
    process = embedded.start("--follow")
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until and not (embedded.folder / ".nvisy" / "index.db").exists():
            time.sleep(0.1)
        done = nvisy(embedded, "run", "graph.json")
        assert done.returncode == 6
        assert str(process.pid) in done.stderr
    finally:
        process.terminate()
        process.communicate(timeout=40)


def test_a_folder_that_lost_most_of_its_files_is_not_believed(embedded: Pipeline) -> None:
    embedded.write({f"{seed}.md": text(seed, paragraphs=1) for seed in range(300)})
    embedded.run()
    for seed in range(200):
        (embedded.docs / f"{seed}.md").unlink()
    done = nvisy(embedded, "run", "graph.json")
    assert done.returncode == 6
    assert "--allow-mass-delete" in done.stderr
    assert len(embedded.keys()) == 300
    done = nvisy(embedded, "run", "graph.json", "--allow-mass-delete")
    assert done.returncode == 0
    assert len(embedded.keys()) == 100


def test_files_that_cannot_be_read_as_documents_are_dead_letters_and_the_rest_goes_on(
    embedded: Pipeline,
) -> None:
    with (embedded.docs / "huge.txt").open("wb") as huge:
        huge.truncate(1 << 30)
    embedded.write(
        {
            "good.md": text(1),
            "binary.bin": bytes(range(256)) * 40,
            "corrupt.pdf": b"%PDF-1.4\nnot really",
            "corrupt.docx": b"PK\x03\x04 not really",
            "wrong.html": b"<html><meta charset=utf-8><body>caf\xe9 \xff\xfe</body>",
        }
    )
    report = embedded.run()
    assert report.state == "degraded"
    letters = {letter.key: letter for letter in embedded.dead_letters()}
    assert {"huge.txt", "binary.bin", "corrupt.pdf", "corrupt.docx"} <= set(letters)
    assert letters["huge.txt"].kind == "too_large"
    assert embedded.keys() >= {"good.md"}
    assert all(letter.message for letter in letters.values())


def test_topics_of_their_own_are_all_a_graph_needs_to_be_told_apart(embedded: Pipeline) -> None:
    embedded.graph["edges"] = edges("files>text", "text>chunk=extracted", "chunk>embed", "embed>index")
    embedded.write({"a.md": text(1)})
    assert embedded.run().state == "completed"
    log = embedded.settings.open_log()
    assert "extracted" in log.topics()
    log.close()
