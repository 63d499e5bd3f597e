"""What a stage's dead letters come to when several versions of a key come through at once."""

from __future__ import annotations

import pytest

from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.writing import DeadLetterBook
from nvisy.topics.log import TopicPartition


def flight(offset: int, *, failed: bool) -> Flight:
    change = Change(Provenance("files", "a.pdf", version=Version(1, offset)))
    passing = Flight(change, Ticket(TopicPartition("g.files", 0), offset), b"")
    return passing.failed(Failure("text", "corrupt", "damaged", retryable=False)) if failed else passing


@pytest.mark.parametrize("failed_before", [False, True])
@pytest.mark.parametrize("last_failed", [False, True])
def test_of_two_versions_in_one_batch_the_later_decides(failed_before: bool, last_failed: bool) -> None:
    book = DeadLetterBook("g", "text", 4, {})
    if failed_before:
        book.entries("g.embed", [flight(0, failed=True)])
    written = book.entries("g.embed", [flight(1, failed=not last_failed), flight(2, failed=last_failed)])
    assert bool(book.open) is last_failed
    assert (written[-1].value is not None) is last_failed
