"""What of the input comes in again: the last version of each key that is meant, and nothing that was not read yet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nvisy.errors import Rejected
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.flight import REPLAYED, Flight, Replay
from nvisy.runtime.requests import append_outside
from nvisy.runtime.rerunning import Again, flights_again
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Append, LogRecord, TopicPartition
from tests.unit.runtime.letters import flight

TOPIC = "g.files"


class Decoder:
    """A change of the record's key, unless its value is broken."""

    def decode(self, record: LogRecord, had: Version | None = None) -> Change:
        if record.value == b"broken":
            raise Rejected("it is no change", kind="decode")
        return self.unknown(record)

    def unknown(self, record: LogRecord) -> Change:
        source, _, key = (record.key or b"").decode().partition("/")
        return Change(Provenance(source, key, version=Version(1, record.offset), partition=record.partition))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    with closing(EmbeddedLog(tmp_path)) as opened:
        opened.create(TOPIC, 2)
        for partition, keys in ((0, ("a", "b", "a")), (1, ("c", "c", "d"))):
            records = [Append(TOPIC, partition, f"files/{key}".encode(), key.encode()) for key in keys]
            append_outside(opened, "g", "/test", records)
        yield opened


def came(log: EmbeddedLog, again: Again, read: tuple[int, int] = (3, 3)) -> list[Flight]:
    positions = {TopicPartition(TOPIC, partition): offset for partition, offset in enumerate(read)}
    return [one for one in flights_again(again, log, positions, {TOPIC: Decoder()}) if one is not None]


def places(flights: list[Flight]) -> list[tuple[str, int, int]]:
    return [(one.change.origin.key, one.place.at.partition, one.place.offset) for one in flights]


def test_the_last_version_of_a_document_comes_once_with_the_version_it_has(log: EmbeddedLog) -> None:
    (one,) = came(log, Again("text", key="a"))
    assert places([one]) == [("a", 0, 2)]
    assert one.change.origin.version == Version(1, 2)
    assert (one.ticket.at.partition, one.raw) == (REPLAYED, b"a"), "it holds no position"
    assert places(came(log, Again("text", key="a", source="files"))) == [("a", 0, 2)]
    assert came(log, Again("text", key="a", source="other")) == []


def test_what_the_stage_has_not_read_yet_is_left_to_come_by_itself(log: EmbeddedLog) -> None:
    assert places(came(log, Again("text", key="a"), (2, 0))) == [("a", 0, 0)]
    assert came(log, Again("text", key="c"), (3, 0)) == []


def test_of_all_that_was_written_since_a_time_the_last_version_of_each_key_comes(log: EmbeddedLog) -> None:
    assert places(came(log, Again("text", since_ms=1))) == [
        ("b", 0, 1),
        ("a", 0, 2),
        ("c", 1, 1),
        ("d", 1, 2),
    ]
    assert came(log, Again("text", since_ms=time.time_ns())) == []


def test_what_cannot_be_read_comes_as_a_failure(log: EmbeddedLog) -> None:
    append_outside(log, "g", "/test", [Append(TOPIC, 0, b"files/a", b"broken")])
    (one,) = came(log, Again("text", key="a"), (4, 3))
    assert one.failure is not None
    assert (one.failure.kind, places([one])) == ("decode", [("a", 0, 3)])


def test_it_goes_on_whether_or_not_a_letter_of_it_is_open() -> None:
    book = DeadLetterBook("g", "text", 4, {})
    plain = flight(5)
    asked = Flight(plain.change, plain.ticket, b"", None, Replay(b"", "", plain.ticket, 0, ""))
    assert book.due("g.embed", [asked]) == [asked]
    book.entries("g.embed", [flight(5, failed=True)])
    assert book.due("g.embed", [asked]) == [asked]
    assert len(book.entries("g.embed", [asked])) == 1, "which it closes"


def test_without_a_key_or_a_time_everything_is_meant() -> None:
    assert Again("text").is_everything
    assert not Again("text", key="a").is_everything
    assert Again.from_json(Again("text", "a", "files", 3).as_json()) == Again("text", "a", "files", 3)
