"""A log or an index that was put back from an older copy, or lost: the index ends where its sources are."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nvisy.errors import Refused
from nvisy.runtime.supervisor import StageFailed
from nvisy.text.split import split
from tests.flow.pipeline import Pipeline, edges, text


def passages(pipeline: Pipeline) -> set[tuple[str, str]]:
    return {(hit.key, hit.text) for hit in pipeline.records()}


def expected(pipeline: Pipeline, *, once: bool = False) -> set[tuple[str, str]]:
    """What the index has to hold, of the documents as they are now; of equal passages the first alone, where `once`."""
    seen: set[str] = set()
    found: set[tuple[str, str]] = set()
    for path in sorted(pipeline.docs.iterdir()):
        for start, end in split(content := path.read_text(), 200, 0):
            if not once or content[start:end] not in seen:
                found.add((path.name, content[start:end]))
            seen.add(content[start:end])
    return found


class Copies:
    """Takes copies of parts of a pipeline's state, and puts them back."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        pipeline.graph["nodes"][-1]["params"]["path"] = "index.db"

    def take(self, *names: str) -> Callable[[], None]:
        copy = self.pipeline.folder / "copy"
        for name in names:
            self._copy(self.pipeline.folder / name, copy / name)

        def put_back() -> None:
            for name in names:
                self._copy(copy / name, self.pipeline.folder / name)

        return put_back

    def _copy(self, origin: Path, target: Path) -> None:
        for suffix in ("", "-wal", "-shm"):
            target.with_name(target.name + suffix).unlink(missing_ok=True) if not target.is_dir() else None
        if origin.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(origin, target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(origin, target)


def chain(pipeline: Pipeline) -> None:
    """As it is."""


def no_topics(pipeline: Pipeline) -> None:
    for edge in pipeline.graph["edges"]:
        edge["topic"] = False


def deduplicated(pipeline: Pipeline) -> None:
    pipeline.graph["nodes"].insert(3, {"id": "unique", "type": "action", "action": "deduplicate"})
    pipeline.graph["edges"] = edges("files>text", "text>chunk", "chunk>unique", "unique>embed", "embed>index")


GRAPHS = pytest.mark.parametrize("shape", [chain, no_topics, deduplicated])


@pytest.fixture
def copies(embedded: Pipeline) -> Copies:
    embedded.write({f"{name}.md": text(seed) for seed, name in enumerate("abcdef")})
    return Copies(embedded)


def change(pipeline: Pipeline) -> None:
    """Everything that can happen to documents: edited, deleted, added, made equal."""
    pipeline.write({"a.md": text(7), "new.md": text(8), "b.md": text(3)})
    (pipeline.docs / "c.md").unlink()


@GRAPHS
@pytest.mark.parametrize("what", ["index.db", ".nvisy"])
def test_an_older_copy_of_the_index_or_of_the_log_catches_up(
    embedded: Pipeline, copies: Copies, shape: Callable[[Pipeline], None], what: str
) -> None:
    shape(embedded)
    embedded.run()
    put_back = copies.take(what)
    change(embedded)
    embedded.run()
    (embedded.docs / "new.md").unlink()
    embedded.write({"d.md": text(9)})
    put_back()
    assert embedded.run().state == "completed"
    assert passages(embedded) == expected(embedded, once=shape is deduplicated)
    report = embedded.run()
    assert (report.written, report.removed) == (0, 0), "it was level after the first run"


@GRAPHS
def test_an_index_outlives_its_log_when_it_is_adopted(
    embedded: Pipeline, copies: Copies, shape: Callable[[Pipeline], None]
) -> None:
    shape(embedded)
    embedded.run()
    shutil.rmtree(embedded.settings.state)
    change(embedded)
    with pytest.raises(StageFailed, match="--adopt") as refused:
        embedded.run()
    assert refused.value.exit_code == Refused.exit_code
    assert embedded.run(adopt=True).state == "completed"
    assert passages(embedded) == expected(embedded, once=shape is deduplicated)
    assert embedded.run().written == 0


@pytest.mark.parametrize("topic", ["files", "chunk", "embed"])
def test_a_topic_that_was_deleted_is_gone_on_from_when_it_is_adopted(
    embedded: Pipeline, copies: Copies, topic: str
) -> None:
    embedded.graph["edges"] = edges(
        "files>text", "text>chunk", f"chunk>embed={embedded.name}.chunk", "embed>index"
    )
    embedded.run()
    log = embedded.settings.open_log()
    log.delete(f"{embedded.name}.{topic}")
    log.close()
    change(embedded)
    with pytest.raises((StageFailed, Refused), match="--adopt"):
        embedded.run()
    assert embedded.run(adopt=True).state == "completed"
    assert passages(embedded) == expected(embedded)
    assert embedded.run().written == 0


def test_without_topics_lost_keys_cost_no_delete(embedded: Pipeline, copies: Copies) -> None:
    no_topics(embedded)
    embedded.run()
    shutil.rmtree(embedded.settings.state / "known")
    (embedded.docs / "a.md").unlink()
    embedded.run()
    assert not embedded.records(key="a.md")
    assert passages(embedded) == expected(embedded)


@pytest.mark.parametrize("renamed", ["files", "index"])
def test_what_a_renamed_node_left_goes(embedded: Pipeline, copies: Copies, renamed: str) -> None:
    embedded.run()
    for node in embedded.graph["nodes"]:
        node["id"] = f"{node['id']}2" if node["id"] == renamed else node["id"]
    ends = {name: f"{name}2" if name == renamed else name for name in ("files", "index")}
    embedded.graph["edges"] = edges(
        f"{ends['files']}>text", "text>chunk", "chunk>embed", f"embed>{ends['index']}"
    )
    embedded.run()
    found = sorted((hit.key, hit.text) for hit in embedded.records(ends["index"]))
    assert found == sorted(expected(embedded)), "each is there, and once"
