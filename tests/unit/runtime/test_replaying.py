"""Reading again what failed: out of the dead letter, out of its topic, or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nvisy.errors import Rejected
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime import dead_letters
from nvisy.runtime import replaying as reading_again
from nvisy.runtime.dead_letters import DeadLetter, open_entries
from nvisy.runtime.flight import REPLAYED, Failure, Flight, Ticket
from nvisy.runtime.replaying import Replaying
from nvisy.runtime.requests import Named, append_outside
from nvisy.topics.embedded import EmbeddedLog
from nvisy.topics.log import Append, LogRecord, TopicPartition

TOPIC = "g.files"


class Decoder:
    """A change named by the record's value, `key` or `key:anything`."""

    def decode(self, record: LogRecord, had: Version | None = None) -> Change:
        if record.value == b"broken":
            raise Rejected("it is no change", kind="decode")
        key = (record.value or b"").decode().partition(":")[0]
        return Change(Provenance("files", key, version=Version(1, record.offset), partition=record.partition))

    def unknown(self, record: LogRecord) -> Change:
        _, _, key = (record.key or b"").decode().partition("/")
        return Change(Provenance("files", key, version=Version(0, record.offset)))


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = EmbeddedLog(folder)
        self.log.create(TOPIC, 2)
        self.log.create("g.dlq", 2)
        self.ours = {TopicPartition(TOPIC, 0)}
        self.closed: set[bytes] = set()

    def read(self, value: bytes, partition: int = 0) -> Ticket:
        """A record stands in the topic."""
        offset = self.log.describe(TOPIC).end[partition]
        append_outside(self.log, "g", "/test", [Append(TOPIC, partition, b"files/" + value, value)])
        return Ticket(TopicPartition(TOPIC, partition), offset)

    def failed(self, key: str, raw: bytes, place: Ticket) -> DeadLetter:
        """Its change has failed."""
        change = Change(Provenance("files", key, version=Version(1, place.offset)))
        flight = Flight(change, place, raw, Failure("text", "corrupt", "damaged"))
        append_outside(self.log, "g", "/test", [dead_letters.entry("g", "text", "g.embed", flight, 2)])
        return next(one for one in open_entries(self.log, "g") if one.key == key)

    def open(self, *, foreign: bool = False) -> Replaying:
        return Replaying(
            lambda: EmbeddedLog(self.folder),
            "g",
            {TOPIC: Decoder()},
            {TOPIC} if foreign else set(),
            lambda key, _entry: key not in self.closed,
            self.ours.__contains__,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def taken(replaying: Replaying, *letters: DeadLetter) -> list[Flight]:
    replaying.ask([Named.of(letter) for letter in letters])
    flights: list[Flight] = []
    until(lambda: flights.extend(replaying.take()) or replaying.idle)
    return flights


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("foreign", [False, True])
def test_a_letter_enters_with_its_version_and_a_ticket_that_is_no_position(
    bench: Bench, foreign: bool
) -> None:
    bench.read(b"x")
    place = bench.read(b"a.md")
    letter = bench.failed("a.md", b"a.md", place)
    replaying = bench.open(foreign=foreign)
    (flight,) = taken(replaying, letter)
    assert flight.change.origin.version == Version(1, 1)
    assert flight.ticket.at == TopicPartition(TOPIC, REPLAYED)
    assert (flight.place, flight.raw, flight.failure) == (place, b"a.md", None)
    assert taken(replaying, letter) == [], "to ask twice does nothing"
    replaying.close()


def test_what_was_too_large_to_keep_is_read_from_its_topic_again(bench: Bench) -> None:
    large = b"a.md:" + b"x" * dead_letters.MAX_BYTES
    letter = bench.failed("a.md", large, bench.read(large))
    assert letter.original == b""
    replaying = bench.open()
    (flight,) = taken(replaying, letter)
    assert flight.raw == large
    replaying.close()


def test_what_is_no_longer_in_its_topic_fails_again_and_is_not_mistaken_for_what_stands_there_now(
    bench: Bench,
) -> None:
    large = b"a.md:" + b"x" * dead_letters.MAX_BYTES
    letter = bench.failed("a.md", large, bench.read(b"b.md"))
    replaying = bench.open()
    (flight,) = taken(replaying, letter)
    assert flight.failure.kind == "input_gone"
    assert (flight.change.origin.key, flight.replay.size) == ("a.md", len(large))
    assert flight.replay.sha256 == hashlib.sha256(large).hexdigest()
    replaying.close()


def test_what_still_cannot_be_decoded_fails_again(bench: Bench) -> None:
    letter = bench.failed("broken", b"broken", bench.read(b"broken"))
    replaying = bench.open()
    (flight,) = taken(replaying, letter)
    assert (flight.failure.kind, flight.failure.node) == ("decode", TOPIC)
    replaying.close()


def test_a_document_whose_key_was_not_known_cannot_be_put_in_its_turn(bench: Bench) -> None:
    letter = bench.failed("//0/0", b"a.md", bench.read(b"a.md"))
    replaying = bench.open()
    (flight,) = taken(replaying, letter)
    assert flight.failure.kind == "key_unknown"
    assert flight.change.origin.key == "//0/0"
    replaying.close()


def test_what_is_closed_or_another_copys_is_left_alone(bench: Bench) -> None:
    closed = bench.failed("a.md", b"a.md", bench.read(b"a.md"))
    elsewhere = bench.failed("b.md", b"b.md", bench.read(b"b.md", partition=1))
    ours = bench.failed("c.md", b"c.md", bench.read(b"c.md"))
    bench.closed.add(closed.record_key)
    replaying = bench.open()
    assert [flight.change.origin.key for flight in taken(replaying, closed, elsewhere, ours)] == ["c.md"]
    replaying.close()


def test_more_letters_than_may_wait_come_one_after_another(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_again, "MAX_AHEAD", 2)
    letters = [bench.failed(f"{n}", b"%d" % n, Ticket(TopicPartition(TOPIC, 0), n)) for n in range(5)]
    replaying = bench.open()
    assert {flight.change.origin.key for flight in taken(replaying, *letters)} == {"0", "1", "2", "3", "4"}
    replaying.close()
