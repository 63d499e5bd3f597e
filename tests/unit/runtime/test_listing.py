"""What a listing becomes: changes, deletes and dead letters, and what the next run makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace

import pytest

from nvisy.errors import Refused, Unreachable
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Failure, Flight
from nvisy.runtime.known import KnownKeys
from nvisy.runtime.listing import FOLLOW_WAIT_S, Listing, ListingReader
from nvisy.testing.memory_source import MemoryFolder

SPEC = Listing(
    node="files",
    run="run-1",
    graph="hash",
    partitions=4,
    topic="docs.files",
    inc=None,
    follow=False,
    allow_mass_delete=False,
    failed_keys=list,
)


class Runs:
    """Runs over a folder in memory, with what stays between them: the file of known keys and the open dead letters."""

    def __init__(self, folder: MemoryFolder, path) -> None:
        self.folder = folder
        self.path = path
        self.open: set[str] = set()
        self.counters = NodeCounters()

    def reader(self, known: KnownKeys, **spec) -> ListingReader:
        listing = replace(SPEC, failed_keys=lambda: sorted(self.open), **spec)
        return ListingReader(self.folder.open(), known, listing, self.counters)

    def known(self) -> KnownKeys:
        return KnownKeys(self.path, "topic-1")

    def run(self, *, commit: bool = True, **spec) -> list[str]:
        """One run to its end; returns what came of it, in words."""
        with closing(self.known()) as known:
            reader, said = self.reader(known, **spec), list[str]()
            for _ in range(10_000):
                flights = reader.read(paused=False)
                said += map(words, flights)
                if not commit and not flights:
                    return said
                if commit:
                    self.commit(reader, flights)
                if reader.ended:
                    return said
        raise AssertionError("the run does not end")

    def commit(self, reader: ListingReader, flights: Sequence[Flight]) -> None:
        for flight in flights:
            (self.open.add if flight.failure else self.open.discard)(flight.change.origin.key)
        if flights:
            reader.committed(flights, {})


def words(flight: Flight) -> str:
    what = flight.failure.kind if flight.failure else flight.change.op
    return f"{what} {flight.change.origin.key}"


@pytest.fixture
def folder():
    return MemoryFolder({"a": "one", "b": "two", "c": "three"})


@pytest.fixture
def runs(folder, tmp_path):
    return Runs(folder, tmp_path / "known.db")


# Changes.


def test_everything_is_new_to_the_first_run(runs):
    assert runs.run() == ["upsert a", "upsert b", "upsert c"]


def test_a_second_run_has_nothing_to_do_and_loads_nothing(runs):
    runs.run()
    runs.folder.loaded.clear()
    assert runs.run() == []
    assert runs.folder.loaded == []


def test_only_what_moved_moves(runs):
    runs.run()
    runs.folder.put("b", "changed")
    runs.folder.put("d", "new")
    runs.folder.remove("c")
    assert runs.run() == ["upsert b", "upsert d", "delete c"]
    assert runs.run() == []


def test_what_comes_back_is_new(runs):
    runs.run()
    runs.folder.remove("c")
    runs.run()
    runs.folder.put("c", "three")
    assert runs.run() == ["upsert c"]


def test_a_change_carries_where_it_comes_from(runs):
    with closing(runs.known()) as known:
        flight = runs.reader(known).read(paused=False)[0]
    origin = flight.change.origin
    assert (origin.source, origin.key, origin.uri) == ("files", "a", "memory:a")
    assert (origin.topic, origin.run, origin.version) == ("docs.files", "run-1", None)
    assert 0 <= origin.partition < 4
    assert flight.change.items[0].provenance is origin
    assert flight.change.fingerprint
    assert flight.raw == b"one"


def test_without_a_topic_changes_are_numbered_in_their_order(runs):
    with closing(runs.known()) as known:
        flights = runs.reader(known, inc=7, topic="").read(paused=False)
    assert [tuple(flight.change.origin.version) for flight in flights] == [(7, 0), (7, 1), (7, 2)]


def test_listed_sent_and_failed_are_counted(runs):
    runs.folder.refused.add("b")
    runs.run()
    assert (runs.counters.received, runs.counters.emitted, runs.counters.failed) == (3, 2, 1)


def test_more_than_a_batch_is_read_batch_by_batch(tmp_path):
    runs = Runs(MemoryFolder({f"{n:05}": str(n) for n in range(1203)}), tmp_path / "known.db")
    assert len(runs.run()) == 1203
    runs.folder.put("01100", "changed")
    assert runs.run() == ["upsert 01100"]


def test_nothing_is_read_while_it_is_paused(runs):
    with closing(runs.known()) as known:
        reader = runs.reader(known)
        assert reader.read(paused=True) == ()
        assert runs.folder.loaded == []
        assert len(reader.read(paused=False)) == 3


def test_a_killed_run_is_done_again(runs):
    """What was read and never committed is read by the next run, as if nothing had been."""
    assert runs.run(commit=False) == ["upsert a", "upsert b", "upsert c"]
    assert runs.run() == ["upsert a", "upsert b", "upsert c"]
    runs.folder.remove("a")
    assert runs.run(commit=False) == ["delete a"]
    assert runs.run() == ["delete a"]


def test_a_run_ends_only_when_all_of_it_is_committed(runs):
    with closing(runs.known()) as known:
        reader = runs.reader(known)
        flights = reader.read(paused=False)
        assert [reader.read(paused=False) for _ in range(5)] == [[]] * 5
        assert not reader.ended
        reader.committed(flights, {})
        reader.read(paused=False)
        assert reader.ended


def test_a_change_that_failed_on_its_way_is_not_known(runs):
    with closing(runs.known()) as known:
        reader = runs.reader(known)
        flights = [flight.failed(Failure("embed", "x", "no")) for flight in reader.read(paused=False)]
        reader.committed(flights, {})
        reader.read(paused=False)
        assert reader.ended
    assert len(runs.run()) == 3


# Deletes.


def test_a_pass_that_fails_half_way_deletes_nothing(runs):
    runs.run()
    runs.folder.remove("a")
    runs.folder.put("b", "changed")
    runs.folder.breaks_after = 1
    with pytest.raises(Unreachable):
        runs.run()
    runs.folder.breaks_after = None
    assert runs.run() == ["upsert b", "delete a"]


def test_a_part_that_cannot_be_listed_keeps_what_is_known_of_it(tmp_path):
    runs = Runs(MemoryFolder({"sub/a": "1", "sub/b": "2", "top": "3"}), tmp_path / "known.db")
    runs.run()
    runs.folder.spoil_part("sub")
    runs.folder.remove("top")
    assert runs.run() == ["unreadable sub", "delete top"]


def test_a_root_that_cannot_be_listed_deletes_nothing(runs):
    runs.run()
    runs.folder.unreadable.add("")
    assert runs.run() == ["unreadable ."]


def test_an_unreadable_document_stays(runs):
    runs.run()
    runs.folder.spoil("b")
    assert runs.run() == ["unreadable b"]


@pytest.fixture
def many(tmp_path):
    runs = Runs(MemoryFolder({f"{n:04}": str(n) for n in range(300)}), tmp_path / "known.db")
    runs.run()
    return runs


def test_a_listing_without_a_third_of_the_documents_is_not_believed(many):
    for n in range(101):
        many.folder.remove(f"{n:04}")
    with pytest.raises(Refused, match=r"101 of 300 documents are gone.*--allow-mass-delete"):
        many.run()


@pytest.mark.parametrize("gone", [2, 20, 39])
def test_an_empty_listing_is_not_believed(tmp_path, gone):
    runs = Runs(MemoryFolder({f"{n:04}": str(n) for n in range(gone)}), tmp_path / "known.db")
    runs.run()
    for n in range(gone):
        runs.folder.remove(f"{n:04}")
    with pytest.raises(Refused, match=f"{gone} of {gone} documents are gone"):
        runs.run()
    assert len(runs.run(allow_mass_delete=True)) == gone


def test_the_last_document_may_go(tmp_path):
    runs = Runs(MemoryFolder({"a": "1"}), tmp_path / "known.db")
    runs.run()
    runs.folder.remove("a")
    assert runs.run() == ["delete a"]


@pytest.mark.parametrize(("gone", "is_believed"), [(20, True), (21, False)])
def test_of_few_documents_most_may_not_go(tmp_path, gone, is_believed):
    runs = Runs(MemoryFolder({f"{n:04}": str(n) for n in range(30)}), tmp_path / "known.db")
    runs.run()
    for n in range(gone):
        runs.folder.remove(f"{n:04}")
    if is_believed:
        assert len(runs.run()) == gone
    else:
        with pytest.raises(Refused, match="21 of 30 documents"):
            runs.run()


def test_it_is_believed_when_that_is_said(many):
    for n in range(300):
        many.folder.remove(f"{n:04}")
    assert len(many.run(allow_mass_delete=True)) == 300
    assert many.run() == []


def test_a_hundred_deletes_are_believed_always(many):
    for n in range(100):
        many.folder.remove(f"{n:04}")
    assert len(many.run()) == 100


def test_a_few_of_very_many_are_believed(tmp_path):
    runs = Runs(MemoryFolder({f"{n:04}": str(n) for n in range(1000)}), tmp_path / "known.db")
    runs.run()
    for n in range(200):
        runs.folder.remove(f"{n:04}")
    assert len(runs.run()) == 200


def test_a_run_that_follows_holds_deletes_back_and_goes_on(many):
    with closing(many.known()) as known:
        reader = many.reader(known, follow=True)
        for n in range(200):
            many.folder.remove(f"{n:04}")
        many.folder.put("new", "n")
        said = follow(many, reader, 20)
        assert said == ["upsert new"]
        for n in range(200):
            many.folder.put(f"{n:04}", str(n))
        assert follow(many, reader, 20) == []
        many.folder.remove("0299")
        assert follow(many, reader, 20) == ["delete 0299"]
        assert not reader.ended


def follow(runs: Runs, reader: ListingReader, reads: int) -> list[str]:
    said: list[str] = []
    for _ in range(reads):
        flights = reader.read(paused=False)
        runs.commit(reader, flights)
        said += map(words, flights)
    return said


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    assert FOLLOW_WAIT_S > 0
    monkeypatch.setattr("nvisy.runtime.listing.FOLLOW_WAIT_S", 0.01)


def test_following_sees_what_happens_later(runs):
    with closing(runs.known()) as known:
        reader = runs.reader(known, follow=True)
        assert len(follow(runs, reader, 10)) == 3
        runs.folder.put("a", "changed")
        assert follow(runs, reader, 10) == ["upsert a"]
        runs.folder.remove("b")
        assert follow(runs, reader, 10) == ["delete b"]


def test_later_passes_count_what_they_found_to_do(runs):
    with closing(runs.known()) as known:
        reader = runs.reader(known, follow=True)
        follow(runs, reader, 20)
        assert runs.counters.received == 3
        runs.folder.put("d", "new")
        runs.folder.remove("b")
        follow(runs, reader, 20)
        assert (runs.counters.received, runs.counters.emitted) == (5, 5)


# Dead letters.


def test_what_cannot_be_loaded_is_a_dead_letter_and_is_tried_again(runs):
    runs.folder.refused.add("b")
    assert runs.run() == ["upsert a", "unreadable b", "upsert c"]
    assert runs.run() == ["unreadable b"]
    runs.folder.refused.clear()
    assert runs.run() == ["upsert b"]
    assert runs.open == set()


def test_the_bytes_of_what_is_unreadable_are_kept(runs):
    runs.folder.spoil("b")
    with closing(runs.known()) as known:
        failed = next(flight for flight in runs.reader(known).read(paused=False) if flight.failure)
    assert failed.raw == b"two"
    assert failed.failure.node == "files"
    assert failed.failure.retryable


def test_a_key_that_occurs_twice_is_refused_the_second_time(runs):
    runs.folder.twice.add("b")
    assert runs.run() == ["upsert a", "upsert b", "duplicate_key b", "upsert c"]


def test_a_key_that_occurs_twice_in_different_batches_is_refused_too(tmp_path):
    runs = Runs(MemoryFolder({f"{n:04}": str(n) for n in range(500)}), tmp_path / "known.db")
    runs.folder.twice.update({"0498", "0499"})
    said = runs.run()
    assert [line for line in said if line.startswith("dup")] == ["duplicate_key 0498", "duplicate_key 0499"]


def test_what_failed_and_is_gone_is_closed_by_a_delete(runs):
    runs.folder.refused.add("b")
    runs.run()
    runs.folder.remove("b")
    assert runs.run() == ["delete b"]
    assert runs.open == set()
    assert runs.run() == []


def test_what_failed_and_lies_below_an_unlisted_part_stays_open(tmp_path):
    runs = Runs(MemoryFolder({"sub/a": "1"}), tmp_path / "known.db")
    runs.folder.refused.add("sub/a")
    runs.run()
    runs.folder.spoil_part("sub")
    runs.run()
    assert "sub/a" in runs.open


def test_a_part_that_can_be_listed_again_closes_its_dead_letter(tmp_path):
    runs = Runs(MemoryFolder({"sub/a": "1"}), tmp_path / "known.db")
    runs.folder.spoil_part("sub")
    assert runs.run() == ["unreadable sub"]
    runs.folder.unreadable.clear()
    assert runs.run() == ["upsert sub/a", "delete sub"]
    assert runs.open == set()


def test_a_part_that_still_cannot_be_listed_keeps_its_dead_letter(tmp_path):
    runs = Runs(MemoryFolder({"sub/a": "1"}), tmp_path / "known.db")
    runs.folder.spoil_part("sub")
    runs.run()
    assert runs.run() == ["unreadable sub"]
    assert runs.open == {"sub"}


def test_what_is_readable_again_as_it_was_closes_its_dead_letter(runs):
    runs.run()
    runs.folder.spoil("b")
    runs.run()
    runs.folder.unreadable.clear()
    assert runs.run() == ["upsert b"]
    assert runs.open == set()
    assert runs.run() == []


def test_a_key_that_occurs_once_again_closes_its_dead_letter(runs):
    runs.folder.twice.add("b")
    runs.run()
    assert runs.open == {"b"}
    runs.folder.twice.clear()
    assert runs.run() == ["upsert b"]
    assert runs.open == set()


def test_a_known_key_that_failed_and_is_gone_is_deleted_once(runs):
    runs.run()
    runs.folder.spoil("b")
    runs.run()
    runs.folder.remove("b")
    assert runs.run() == ["delete b"]


def test_deletes_that_are_held_back_include_what_failed_before(many):
    many.folder.spoil("0000")
    with closing(many.known()) as known:
        reader = many.reader(known, follow=True)
        follow(many, reader, 10)
        for n in range(200):
            many.folder.remove(f"{n:04}")
        assert follow(many, reader, 20) == []
        assert "0000" in many.open


# Groups.


@pytest.fixture
def grouped(tmp_path):
    return Runs(MemoryFolder({"f#1": "one", "f#2": "two", "g#1": "three"}), tmp_path / "known.db")


def test_an_unchanged_group_is_not_opened(grouped, monkeypatch):
    grouped.run()
    monkeypatch.setattr(
        "nvisy.testing.memory_source.MemoryListing._members", lambda *_: pytest.fail("it was opened")
    )
    assert grouped.run() == []


def test_in_a_changed_group_only_what_moved_moves(grouped):
    grouped.run()
    grouped.folder.put("f#2", "changed")
    grouped.folder.put("f#3", "new")
    grouped.folder.remove("f#1")
    assert grouped.run() == ["upsert f#2", "upsert f#3", "delete f#1"]


def test_a_group_that_is_gone_takes_its_members_with_it(grouped):
    grouped.run()
    grouped.folder.remove("f#1")
    grouped.folder.remove("f#2")
    assert grouped.run() == ["delete f#1", "delete f#2"]
    assert grouped.run() == []


def test_a_group_that_comes_back_as_it_was_is_read_again(grouped):
    grouped.run()
    texts = dict(grouped.folder.texts)
    for key in ("f#1", "f#2"):
        grouped.folder.remove(key)
    grouped.run()
    grouped.folder.texts = texts
    assert grouped.run() == ["upsert f#1", "upsert f#2"]
    assert grouped.run() == []


def test_a_group_that_still_cannot_be_read_keeps_its_dead_letter(grouped):
    grouped.folder.unreadable.add("f#")
    grouped.run()
    grouped.run()
    assert grouped.open == {"f"}


def test_a_group_is_known_only_when_its_members_are_committed(grouped):
    """A run that was killed after it read a group and before it committed it opens the group again."""
    grouped.run(commit=False)
    with closing(grouped.known()) as known:
        assert known.group("f") is None
    assert grouped.run() == ["upsert f#1", "upsert f#2", "upsert g#1"]
    with closing(grouped.known()) as known:
        assert known.group("f")


def test_a_group_that_changed_is_not_known_until_it_is_read_again(grouped):
    grouped.run()
    grouped.folder.put("f#1", "changed")
    grouped.run(commit=False)
    grouped.folder.put("f#1", "one")
    assert grouped.run() == []
    grouped.folder.put("f#1", "changed")
    assert grouped.run() == ["upsert f#1"]


def test_a_group_in_which_something_failed_later_is_read_again_when_that_is_asked_for(grouped):
    grouped.run()
    grouped.open.add("f#2")
    assert grouped.run() == []
    with closing(grouped.known()) as known:
        reader = grouped.reader(known, follow=True)
        reader.list_again()
        assert follow(grouped, reader, 10) == ["upsert f#2"]
        grouped.open.add("f#1")
        assert follow(grouped, reader, 3) == []
        reader.list_again()
        assert follow(grouped, reader, 10) == ["upsert f#1"]


def test_a_member_that_cannot_be_read_keeps_the_group_from_deleting(grouped):
    grouped.run()
    grouped.folder.spoil("f#1")
    grouped.folder.remove("f#2")
    grouped.folder.remove("g#1")
    grouped.folder.put("f#3", "new")
    assert grouped.run() == ["upsert f#3", "unreadable f#1", "delete g#1"]
    grouped.folder.put("f#1", "one")
    assert grouped.run()[-1] == "delete f#2"


def test_a_group_that_cannot_be_read_to_its_end_deletes_nothing(grouped):
    grouped.run()
    grouped.folder.unreadable.add("f#")
    assert grouped.run() == ["unreadable f"]
    grouped.folder.unreadable.clear()
    grouped.run()
    assert grouped.open == set()
