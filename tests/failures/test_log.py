"""Failures of the log: who appends, what compaction keeps, what an offset is worth."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest

from nvisy.errors import Refused, Rejected
from nvisy.primitives.provenance import Version
from nvisy.runtime import dead_letters
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.flight import Flight, Replay, Ticket, replayed_at
from nvisy.runtime.foreign import ForeignDecoder
from nvisy.runtime.memory import Memory
from nvisy.runtime.numbering import Certain, Numbering, numbering_of
from nvisy.runtime.outlets import Outlet, TopicOutlet
from nvisy.runtime.writing import WritingThread
from nvisy.testing.records import LANE, make_set
from nvisy.topics.connector import TopicSourceParams
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.embedded import sqlite as embedded_sqlite
from nvisy.topics.embedded.sqlite import immediate
from nvisy.topics.embedded.topic_file import TopicFile
from nvisy.topics.log import Append, LogRecord, Session, TopicInfo, TopicPartition
from nvisy.topics.partitioner import murmur2, partition_of
from tests.failures.parts import (
    AT,
    BROKEN,
    COPIER,
    FILES,
    TEXT,
    WRITER,
    SourceStage,
    appends,
    change,
    codec_in,
    decoded,
    flight,
    held,
    index_in,
    polled,
    texts,
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with closing(EmbeddedLog(tmp_path / "log")) as log:
        log.create(FILES, 1)
        log.create(TEXT, 1)
        log.create("g.dlq", 1)
        yield log


class Nobody:
    """Nobody is told how writing goes on."""

    def state(self, positions: Any) -> dict[str, bytes | None]:
        return {}

    def committed(self, flights: Any, positions: Any) -> None: ...
    def between_commits(self) -> None: ...
    def at_end(self) -> None: ...


def write(
    session: Session, outlet: Outlet, flights: Sequence[Flight], *, slow: Sequence[Flight] = ()
) -> DeadLetterBook:
    """What the writing thread of a stage makes of these; `slow` were read, and are not through yet."""
    tracker, book = AckTracker(), DeadLetterBook("g", "text", 1, {})
    for one in sorted([*flights, *slow], key=lambda one: one.ticket.offset):
        tracker.register(one.ticket, 1, 1)
    thread = WritingThread(session, [outlet], tracker, book, inputs=frozenset({FILES}), desk=Nobody())
    thread.start()
    for one in flights:
        thread.hand_over(0, [one])
    thread.finish(settle=False)
    return book


def test_failure_01_a_zombie_cannot_append_an_older_version_that_compaction_would_keep(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    codec = codec_in(tmp_path)
    zombie = log.session(COPIER)
    zombie.append(appends(codec, change("K", "five", version=5), topic=TEXT))
    owner = log.session(COPIER)
    owner.append(appends(codec, change("K", "six", version=6), topic=TEXT))
    owner.commit({})
    with pytest.raises(Refused, match="taken over"):
        zombie.commit({})
    log.compact(TEXT)
    assert texts(decoded(codec, log.scan(TEXT))) == [["six"]]
    for session in (zombie, owner):
        session.close()


def test_failure_01_nor_does_a_replay(log: EmbeddedLog, tmp_path: Path) -> None:
    codec = codec_in(tmp_path)
    five, six = flight(5, "K", "five"), flight(6, "K", "six")
    entry = dead_letters.as_open(dead_letters.entry("g", "text", TEXT, five.failed(BROKEN), 1))
    replay = Replay(b"text/g.text/files/K", entry.entry, five.ticket, 3, "")
    again = Flight(five.change, replayed_at(FILES, 0), b"raw", None, replay)
    with closing(log.session(COPIER)) as session:
        write(session, TopicOutlet(TEXT, session, codec, 1), [five.failed(BROKEN), six, again])
    log.compact(TEXT)
    assert texts(decoded(codec, log.scan(TEXT))) == [["six"]]


def test_failure_02_a_version_is_one_record_so_compaction_keeps_it_whole_or_not_at_all(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    codec, parts = codec_in(tmp_path), [f"part {number}" for number in range(7)]
    with closing(log.session(WRITER)) as session:
        session.append(appends(codec, change("K", *parts)))
        session.commit({})
        session.append(appends(codec, change("K", *parts[:2])))  # killed before its commit
    log.compact(FILES)
    assert texts(decoded(codec, log.scan(FILES))) == [parts]
    with closing(log.session(WRITER)) as session:
        session.append(appends(codec, change("K", *parts[:4])))
        session.commit({})
    log.compact(FILES)
    assert texts(decoded(codec, log.scan(FILES))) == [parts[:4]]


def test_failure_03_what_was_read_before_a_takeover_is_not_appended_after_it(tmp_path: Path) -> None:
    stage = SourceStage(tmp_path)
    (stage.docs / "K").write_text("A")
    with stage.life() as (paused, its_reader):
        outlet = TopicOutlet(FILES, paused, stage.codec, 1)
        outlet.write(its_reader.read(paused=False))
        (stage.docs / "K").write_text("B, and longer")
        assert stage.run() == ["upsert K"]
        with pytest.raises(Refused, match="taken over"):
            paused.commit({}, its_reader.state({}))
    (found,) = decoded(stage.codec, stage.log.scan(FILES))
    assert found.items[0].content == b"B, and longer"  # type: ignore[attr-defined]
    assert stage.run() == []


def test_failure_04_offsets_that_start_again_are_newer(log: EmbeddedLog, tmp_path: Path) -> None:
    codec, sink = codec_in(tmp_path), index_in(tmp_path)

    def incarnation() -> int:
        info = log.describe(FILES)
        assert info is not None
        with closing(log.session(COPIER)) as session:  # its home is another topic, which stays
            return Memory(session).incarnation({FILES: info.id})

    with closing(sink.open(1)) as writer:
        assert incarnation() == 1
        writer.apply([make_set("K", ["old"], offset=1_000_000)])
        log.delete(FILES)
        log.create(FILES, 1)
        inc = incarnation()
        with closing(log.session(WRITER)) as session:
            session.append(appends(codec, change("K", "new"), inc=inc))
            session.commit({})
        (found,) = decoded(codec, log.scan(FILES))
        assert found.origin.version == Version(2, 0)
        new = replace(make_set("K", ["new"]), version=found.origin.version.number)
        assert not writer.apply([new])[0].superseded
    assert held(sink) == ["new"]


def test_failure_04_a_key_that_moved_to_an_added_partition_is_newer() -> None:
    def at(partition: int, offset: int, at_ms: int = 0) -> LogRecord:
        return LogRecord("t", partition, offset, b"k", b"", (), at_ms)

    before = numbering_of(TopicInfo("t", "id", 2, {}, {0: 5, 1: 1_000_005}), None, 0, None, 0)
    grown = TopicInfo("t", "id", 8, {}, {0: 5, 1: 1_000_005, 7: 4})
    after = numbering_of(grown, before, 0, Certain(2, 1_000, {0: 3, 1: 1_000_001}), 9_000)
    assert after.version(at(7, 3)) > before.version(at(1, 1_000_000)) == after.version(at(1, 1_000_000))
    assert after.version(at(0, 4, 2_001)) > after.version(at(1, 1_000_002, 2_000)), (
        "moved before that was noticed"
    )
    assert after.to_be_ordered(grown).keys() >= {TopicPartition("t", 0), TopicPartition("t", 7)}
    other = TopicInfo("t", "other", 8, {}, {})
    anew = numbering_of(other, Numbering.from_json(after.to_json()), 0, None, 0)
    assert anew.version(at(0, 0)) > after.version(at(1, 2_000_000, 2**60))


def test_failure_04_offsets_of_a_topic_that_was_emptied_go_on(log: EmbeddedLog, tmp_path: Path) -> None:
    codec = codec_in(tmp_path)
    with closing(log.session(WRITER)) as session:
        session.append(appends(codec, change("K", "one"), change("K", "two")))
        session.commit({})
        apsw.Connection(str(tmp_path / "log" / "topics" / f"{FILES}.db")).execute("DELETE FROM record")
        session.append(appends(codec, change("K", "three")))
        session.commit({})
    assert [record.offset for record in log.scan(FILES)] == [2]


class ToNowhere(Outlet):
    name = TEXT

    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        return ()


def test_failure_05_a_slow_input_is_read_again_after_its_machine_was_lost(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    with closing(log.session(WRITER)) as session:
        session.append([Append(FILES, 0, b"files/K", b"%d" % number) for number in range(901)])
        session.commit({})
    with closing(log.session(COPIER)) as session:
        read = [Flight(change("K"), Ticket(AT, record.offset)) for record in polled(session, 901)]
        write(session, ToNowhere(), read[:500] + read[501:], slow=[read[500]])
    # nothing but the log is left: the stage keeps no input anywhere else
    with closing(EmbeddedLog(tmp_path / "log")) as elsewhere, closing(elsewhere.session(COPIER)) as session:
        assert session.positions() == {AT: 500}
        assert polled(session, 1)[0].value == b"500"


def test_failure_08_a_delete_is_a_record_that_compaction_keeps(log: EmbeddedLog, tmp_path: Path) -> None:
    codec = codec_in(tmp_path)
    with closing(log.session(WRITER)) as session:
        session.append(appends(codec, change("K", "one"), change("K", op="delete")))
        session.commit({})
    log.compact(FILES)
    (record,) = log.scan(FILES)
    assert record.value is not None
    assert decoded(codec, [record])[0].op == "delete"


def test_failure_18_the_log_and_the_index_are_on_the_disk_before_a_commit_returns(
    log: EmbeddedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[apsw.Connection] = []

    def connect(path: Path, **options: Any) -> apsw.Connection:
        opened.append(embedded_sqlite_connect(path, **options))
        return opened[-1]

    embedded_sqlite_connect = embedded_sqlite.connect
    for module in ("topic_file", "control_file"):
        monkeypatch.setattr(f"nvisy.topics.embedded.{module}.connect", connect)
    with closing(EmbeddedLog(tmp_path / "fresh")) as fresh:
        fresh.create(FILES, 1)
        log_id = fresh.id
        with closing(fresh.session(WRITER)), closing(index_in(tmp_path).open(1)) as writer:
            in_use = [db for db in opened if _is_open(db)]
            assert log_id
            assert in_use
            full = 2
            assert {db.pragma("synchronous") for db in [*in_use, writer._connection]} == {full}


def _is_open(db: apsw.Connection) -> bool:
    try:
        db.pragma("synchronous")
    except apsw.ConnectionClosedError:
        return False
    return True


def test_failure_18_offsets_are_not_used_again_after_compaction(log: EmbeddedLog) -> None:
    with closing(log.session(WRITER)) as session:
        for value in (b"1", b"2"):
            session.append([Append(FILES, 0, b"files/K", value)])
            session.commit({})
    log.compact(FILES)
    with closing(log.session(WRITER)) as session:
        session.append([Append(FILES, 0, b"files/K", b"3")])
        session.commit({})
    assert [record.offset for record in log.scan(FILES)] == [1, 2]


@pytest.mark.parametrize(
    ("key", "signed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_failure_24_partitions_are_those_of_javas_client(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF
    assert partition_of(key, 12) == (signed & 0x7FFFFFFF) % 12


def test_failure_24_a_record_of_others_without_a_key_is_refused(tmp_path: Path) -> None:
    params = TopicSourceParams(topic="t", format="json", text="body")
    numbering = numbering_of(TopicInfo("t", "id", 1, {}, {}), None, 0, None, 0)
    decoder = ForeignDecoder("t", params, codec_in(tmp_path), numbering, graph="", run="", partitions=1)
    with pytest.raises(Rejected, match="no key"):
        decoder.decode(LogRecord("t", 0, 0, None, b'{"body": "x"}', (), 0))


def test_failure_25_without_a_topic_every_life_of_a_stage_is_newer_than_the_one_before(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    sink, versions = index_in(tmp_path), []
    for count in (1_000, 1):
        with closing(log.session(COPIER)) as session:
            inc = Memory(session).next_unlogged_incarnation()
            versions += [Version(inc, off).number for off in range(count)]
    assert versions == sorted(set(versions))
    with closing(sink.open(1)) as writer:
        for text, version in (("old", versions[-2]), ("new", versions[-1])):
            assert not writer.apply([replace(make_set("K", [text]), version=version)])[0].superseded
        assert writer.head(LANE, "K") == Version(2, 0).number


def test_failure_26_who_writes_one_topic_does_not_wait_for_who_writes_another(
    log: EmbeddedLog, tmp_path: Path
) -> None:
    other = TopicFile.open(tmp_path / "log" / "topics" / f"{TEXT}.db")
    assert other is not None
    with immediate(other.db):  # a long transaction
        done = threading.Event()

        def work() -> None:
            with closing(EmbeddedLog(tmp_path / "log")) as mine, closing(mine.session(WRITER)) as session:
                session.append([Append(FILES, 0, b"files/K", b"1")])
                session.commit({})
                done.set()

        thread = threading.Thread(target=work)
        thread.start()
        assert done.wait(5)
        thread.join()
    other.close()
