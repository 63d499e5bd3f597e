"""Failures of stages: what is joined, replayed, kept by one of several, listed, and waited for."""

from __future__ import annotations

import random
import threading
from contextlib import closing
from pathlib import Path

import pytest

from nvisy.actions.first_owner import FirstOwner, Name, Seen
from nvisy.errors import GraphError, Refused
from nvisy.primitives.provenance import Version
from nvisy.runtime import dead_letters
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.codecs import ChangeDecoder
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.memory import Memory
from nvisy.runtime.outlets import TopicOutlet
from nvisy.runtime.reading import ReadingThread
from nvisy.runtime.replaying import Replaying
from nvisy.runtime.requests import Named, append_outside
from nvisy.runtime.steps import JoinStep
from nvisy.runtime.streaming import StreamingReader
from nvisy.testing.memory_source import MemoryHistory
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Append, Seat, TopicPartition
from tests.failures.parts import (
    AT,
    BROKEN,
    EMBED,
    FILES,
    LINE,
    OTHER,
    TEXT,
    WAYS,
    WRITER,
    SourceStage,
    appends,
    change,
    codec_in,
    decoded,
    flight,
    plan_of,
    texts,
)

FANOUT, FANIN = {"type": "fanout"}, {"type": "fanin"}


def test_failure_10_halves_of_a_change_reach_the_sink_together_or_not_at_all() -> None:
    join = JoinStep({FILES: 2})
    one, other = flight(5, "K", "one half"), flight(5, "K", "other half")
    assert join([one]) == []
    (whole,) = join([other])
    assert texts([whole.change]) == [["one half", "other half"]]
    assert join([flight(6, "K", "one half")]) == []
    (failed,) = join([flight(6, "K").failed(BROKEN)])
    assert failed.failure == BROKEN


def test_failure_10_a_topic_between_the_halves_is_refused() -> None:
    nodes = {**LINE, "both": FANOUT, "again": EMBED, "all": FANIN}
    ways = ["files>text", "text>chunk", "chunk>both", "both>embed{}", "both>again", "embed>all", "again>all"]
    assert plan_of(nodes, *(way.format("") for way in ways), "all>index").stages
    with pytest.raises(GraphError, match="topic"):
        plan_of(nodes, *(way.format("=between") for way in ways), "all>index")


def test_failure_11_each_of_two_sinks_has_a_stage_a_position_and_dead_letters_of_its_own(
    tmp_path: Path,
) -> None:
    plan = plan_of({**LINE, "other": OTHER}, *WAYS, "embed>other")
    stages = [plan.stage("index"), plan.stage("other")]
    assert [(one.inputs, one.nodes) for one in stages] == [(("g.embed",), ()), (("g.embed",), ())]
    keys = {dead_letters.entry_key(one.id, one.outlets[0].name, flight(5)) for one in stages}
    assert len(keys) == 2
    with closing(EmbeddedLog(tmp_path)) as log:
        log.create("g.embed", 1)
        with closing(log.session(Seat("g", "text", "c", (), ("g.embed",)))) as session:
            session.append([Append("g.embed", 0, b"files/K", b"%d" % number) for number in range(3)])
            session.commit({})
        at = TopicPartition("g.embed", 0)
        going, down = (log.session(Seat("g", one.id, "c", one.inputs, ())) for one in stages)
        going.commit({at: 3})
        assert (going.positions()[at], down.positions()[at]) == (3, 0)
        going.close()
        down.close()


def test_failure_12_a_replay_begins_at_the_head_of_its_stage_and_gives_way_to_what_is_newer(
    tmp_path: Path,
) -> None:
    codec = codec_in(tmp_path)
    log = EmbeddedLog(tmp_path / "log")
    log.create(FILES, 1)
    log.create("g.dlq", 1)
    with closing(log.session(WRITER)) as session:
        session.append(appends(codec, change("K", "five"), change("K", "six")))
        session.commit({})
    five, six = (
        Flight(one, Ticket(AT, record.offset), record.value or b"")
        for record in log.scan(FILES)
        for one in decoded(codec, [record])
    )
    chunked = Flight(change("K", "cut", "the old", "way"), five.ticket, five.raw).failed(BROKEN)
    append_outside(log, "g", "/test", [dead_letters.entry("g", "text", TEXT, chunked, 1)])
    book = DeadLetterBook.read(log, "g", "text", 1)
    (letter,) = dead_letters.open_entries(log, "g")
    decoders = {FILES: ChangeDecoder(codec)}
    replaying = Replaying(
        lambda: EmbeddedLog(tmp_path / "log"), "g", decoders, set(), book.is_open, lambda _at: True
    )
    replaying.ask([Named.of(letter)])
    while not (again := replaying.take()):
        assert replaying._thread.is_alive()
    replaying.close()
    assert texts([again[0].change]) == [["five"]]  # what the stage reads, not what its old self made of it
    assert again[0].change.origin.version == five.change.origin.version
    assert book.due(TEXT, again) == again
    book.entries(TEXT, [six])  # it was in flight, and passes first
    assert book.due(TEXT, again) == []
    log.close()


def _seen(key: str, offset: int, *hashes: str) -> Seen:
    return Seen(Name("files", key), Version(1, offset), frozenset(hashes), f"{FILES}/0/{offset}")


def test_failure_13_of_two_equal_documents_one_is_kept_whatever_the_order(tmp_path: Path) -> None:
    history = [_seen("K1", 0, "x"), _seen("K2", 1, "x"), _seen("K3", 2, "x", "y"), _seen("K1", 3)]
    ends = set()
    for number in range(6):
        rng, left = random.Random(number), list(history)
        with FirstOwner(tmp_path / f"{number}.db") as owners:
            while left:
                ready = [
                    one
                    for one in left
                    if not any(o.name == one.name and o.version < one.version for o in left)
                ]
                left.remove(chosen := rng.choice(ready))
                owners.apply(chosen)
            ends.add(tuple((one.name.key, tuple(sorted(one.owned))) for one in owners.decisions()))
    assert ends == {(("K1", ()), ("K2", ("x",)), ("K3", ("y",)))}


def test_failure_13_what_the_owner_gives_up_is_read_back_in_one_process_for_all_partitions(
    tmp_path: Path,
) -> None:
    with FirstOwner(tmp_path / "owners.db") as owners:
        owners.apply(_seen("K1", 0, "x"))
        owners.apply(_seen("K2", 1, "x"))
        gone, heir = owners.apply(Seen(Name("files", "K1"), Version(1, 2), frozenset(), None))
    assert (gone.name.key, gone.owned) == ("K1", frozenset())
    assert (heir.name.key, heir.owned, heir.ref) == ("K2", {"x"}, f"{FILES}/0/1")
    dedup = {"type": "action", "action": "deduplicate"}
    plan = plan_of(
        {**LINE, "one": dedup}, "files>text", "text>chunk", "chunk>one", "one>embed", "embed>index"
    )
    (alone,) = [stage for stage in plan.stages if stage.alone]
    assert alone.outputs  # an origin topic: what is given on gets a new version


def test_failure_14_rows_of_a_first_reading_and_of_the_stream_are_as_new_as_they_come(tmp_path: Path) -> None:
    """A transaction that began before the first reading and ended after it comes last, whatever its number."""
    history = MemoryHistory(bounded=True)
    history.put("K", "as the first reading found it")
    history.put("K", "as a transaction left it that had begun before")
    codec = codec_in(tmp_path)
    with closing(EmbeddedLog(tmp_path / "log")) as log:
        log.create(FILES, 1)
        with closing(log.session(WRITER)) as session:
            reader = StreamingReader(
                history.open(),
                Memory(session),
                node="files",
                run="r",
                graph="h",
                partitions=1,
                topic=FILES,
                inc=None,
                counters=NodeCounters(),
                live_keys=lambda _prefix: iter(()),
            )
            outlet = TopicOutlet(FILES, session, codec, 1)
            while not reader.ended:
                flights = reader.read(paused=False)
                assert {one.change.origin.version for one in flights} <= {
                    None
                }  # the source's numbers are no versions
                outlet.write(flights)
            session.commit({})
            reader.close()
        found = decoded(codec, log.scan(FILES))
    assert [one.origin.version for one in found] == [Version(1, 0), Version(1, 1)]
    assert texts(found)[-1] == ["as a transaction left it that had begun before"]


def _fill(stage: SourceStage, count: int) -> None:
    for number in range(count):
        (stage.docs / f"{number}.md").write_text(f"document {number}")
    assert len(stage.run()) == count


def test_failure_16_a_folder_that_is_gone_or_empty_deletes_nothing(tmp_path: Path) -> None:
    stage = SourceStage(tmp_path)
    _fill(stage, 120)
    there = stage.docs.rename(tmp_path / "elsewhere")
    with pytest.raises(Exception, match="docs"):
        stage.run()
    stage.docs.mkdir()
    with pytest.raises(Refused, match="allow-mass-delete"):
        stage.run()
    stage.docs.rmdir()
    there.rename(stage.docs)
    assert stage.run() == []


def test_failure_16_half_a_file_of_records_deletes_nothing_and_an_id_belongs_to_its_file(
    tmp_path: Path,
) -> None:
    stage = SourceStage(tmp_path, glob="**/*.jsonl", format="jsonl", text="text")
    line = '{"id": "%s", "text": "a text"}\n'
    (stage.docs / "a.jsonl").write_text(line % 1 + line % 2)
    (stage.docs / "b.jsonl").write_text(line % 1)
    assert sorted(stage.run()) == ["upsert a.jsonl#1", "upsert a.jsonl#2", "upsert b.jsonl#1"]
    (stage.docs / "a.jsonl").write_text(line % 1 + '{"id": "2", "te')
    assert not [said for said in stage.run() if said.startswith("delete")]
    (stage.docs / "a.jsonl").write_text(line % 1 + line % 2)
    (stage.docs / "b.jsonl").unlink()
    assert [said for said in stage.run() if said.startswith("delete")] == ["delete b.jsonl#1"]


def test_failure_16_an_id_that_occurs_twice_in_a_file_is_a_dead_letter(tmp_path: Path) -> None:
    stage = SourceStage(tmp_path, glob="**/*.jsonl", format="jsonl", text="text")
    (stage.docs / "a.jsonl").write_text('{"id": "1", "text": "one"}\n{"id": "1", "text": "two"}\n')
    said = stage.run()
    assert said[0] == "upsert a.jsonl#1"
    assert len(said) == 2
    assert not said[1].startswith("upsert")


def test_failure_17_a_delete_is_seen_though_the_list_of_known_keys_is_lost(tmp_path: Path) -> None:
    stage = SourceStage(tmp_path)
    _fill(stage, 3)
    (stage.docs / "1.md").unlink()
    for file in sorted(stage.disk.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    assert stage.run() == ["delete 1.md"]


class Endless:
    """A topic that never ends; counts what was read of it, and how often it was asked to wait."""

    ended = False
    complete = False

    def __init__(self) -> None:
        self.offset = 0
        self.waited = threading.Semaphore(0)

    def read(self, *, paused: bool) -> list[Flight]:
        if paused:
            self.waited.release()  # it is still asked: a member that is not would be put out of its group
            return []
        self.offset += 1
        return [flight(self.offset)]

    def close(self) -> None: ...


@pytest.mark.parametrize(("limits", "ahead"), [({"max_changes": 10}, 10), ({"max_bytes": 3 * 259}, 3)])
def test_failure_29_behind_a_slow_document_reading_pauses_and_goes_on_asking(
    limits: dict[str, int], ahead: int
) -> None:
    reader, tracker = Endless(), AckTracker(**limits)
    thread = ReadingThread(reader, tracker, lambda _flight: 1)  # type: ignore[arg-type]
    thread.start()
    for _ in range(3):
        assert reader.waited.acquire(timeout=10)
    assert reader.offset == ahead
    assert tracker.positions() == {}
    thread.stop()
    thread.join()
