"""What a stage's dead letters come to when versions of a key, new and replayed ones, come through in any order."""

from __future__ import annotations

import pytest

from nvisy.runtime import dead_letters
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.dead_letters import OpenEntry
from nvisy.topics.log import Append
from tests.unit.runtime.letters import again, flight


def entry_of(record: Append) -> str:
    return dead_letters.as_open(record).entry


def reason(record: Append) -> bytes:
    assert record.value is None
    return dict(record.headers)["nvisy.closed"]


@pytest.mark.parametrize("failed_before", [False, True])
@pytest.mark.parametrize("last_failed", [False, True])
def test_of_two_versions_in_one_batch_the_later_decides(failed_before: bool, last_failed: bool) -> None:
    book = DeadLetterBook("g", "text", 4, {})
    if failed_before:
        book.entries("g.embed", [flight(0, failed=True)])
    written = book.entries("g.embed", [flight(1, failed=not last_failed), flight(2, failed=last_failed)])
    assert bool(book.open) is last_failed
    assert (written[-1].value is not None) is last_failed


def test_the_same_version_resolves_a_newer_one_supersedes_and_an_older_one_does_neither() -> None:
    book = DeadLetterBook("g", "text", 4, {})
    book.entries("g.embed", [flight(5, failed=True)])
    assert book.entries("g.embed", [flight(4)]) == []
    (closed,) = book.entries("g.embed", [flight(5)])
    assert reason(closed) == b"resolved"
    book.entries("g.embed", [flight(5, failed=True)])
    (closed,) = book.entries("g.embed", [flight(6)])
    assert reason(closed) == b"superseded"


def test_a_replayed_flight_goes_on_only_while_its_very_entry_is_open() -> None:
    book = DeadLetterBook("g", "text", 4, {})
    (letter,) = book.entries("g.embed", [flight(5, failed=True)])
    replayed = again(5, entry_of(letter))
    assert book.due("g.embed", [replayed, flight(6)]) == [replayed, flight(6)]
    assert book.due("g.embed", [flight(6), replayed]) == [flight(6)], "a newer version has just passed"
    assert book.due("g.embed", [replayed, replayed]) == [replayed], "once is enough"
    assert book.due("g.other", [replayed]) == [], "it did not fail on this way"
    book.entries("g.embed", [flight(6, failed=True)])
    assert book.due("g.embed", [replayed]) == [], "another entry stands in its place"


def test_a_replayed_flight_that_fails_again_is_a_new_entry_with_the_size_and_hash_of_the_first() -> None:
    book = DeadLetterBook("g", "text", 4, {})
    (first,) = book.entries("g.embed", [flight(5, failed=True)])
    (second,) = book.entries("g.embed", [again(5, entry_of(first), failed=True)])
    assert entry_of(first) != entry_of(second)
    assert dict(second.headers)["nvisy.error.size"] == b"3"
    assert dict(second.headers)["__connect.errors.offset"] == b"5"


def test_what_a_full_pass_went_past_is_superseded() -> None:
    book = DeadLetterBook("g", "text", 4, {})
    book.entries("g.embed", [flight(5, failed=True)])
    book.open[b"text/g.embed/files/unread"] = OpenEntry("e", 7)
    assert book.outdated("other", 2) == book.outdated("files", 1) == []
    assert [record.key for record in book.outdated("files", 2)] == [b"text/g.embed/files/a.pdf"]
