"""What is asked of the owner of a graph, and what becomes of it, on both logs."""

from __future__ import annotations

from collections.abc import Callable

from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime import dead_letters
from nvisy.runtime.dead_letters import open_entries
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.requests import (
    Answers,
    Inbox,
    Named,
    Request,
    answered,
    append_outside,
    ask,
    ends_of,
    standing,
)
from nvisy.runtime.view import RunSaid, StageSaid, as_state, last_view, owners_seat
from nvisy.topics.log import Append, Log, TopicPartition


def failed(graph: str, key: str, offset: int) -> Append:
    change = Change(Provenance("files", key, version=Version(1, offset)))
    ticket = Ticket(TopicPartition(f"{graph}.files", 0), offset)
    flight = Flight(change, ticket, b"raw", Failure("text", "corrupt", "damaged"))
    return dead_letters.entry(graph, "text", f"{graph}.embed", flight, 1)


def test_a_request_stands_until_the_owner_has_answered_it(opened: Callable[[], Log], graph: str) -> None:
    asking, owner = opened(), opened()
    assert standing(owner, graph) == []
    letter = Named("text", b"text/out/files/\xff", "e1")
    first = ask(asking, graph, Request("drop", (letter,)))
    inbox = Inbox(owner, graph)
    assert inbox.poll() == [first]
    assert inbox.poll() == []
    second = ask(asking, graph, Request("replay", (letter, Named("embed", b"k", "e2"))))
    assert inbox.poll() == [second]
    assert second.of_stage("text") == [letter]
    append_outside(owner, graph, "/owner", [answered(graph, first)])
    assert inbox.poll() == []
    assert list(inbox.standing) == [second.id]
    assert standing(opened(), graph) == [second]


def test_what_becomes_of_letters_is_what_comes_first_after_them(
    opened: Callable[[], Log], graph: str
) -> None:
    log = opened()
    log.create(dead_letters.topic_of(graph), 1)

    def write(*records: Append) -> None:
        append_outside(log, graph, "/owner", records)

    write(failed(graph, "a", 1), dead_letters.closing(graph, failed(graph, "a", 1).key, "dropped", 1))
    write(*(failed(graph, key, 5) for key in "abcd"))
    letters = list(open_entries(log, graph))
    from_here = Answers(log, graph, map(Named.of, letters), ends_of(log, graph))
    from_the_start = Answers(log, graph, map(Named.of, letters))
    assert {answer.outcome for answer in from_the_start.poll().values()} == {"open"}
    write(
        dead_letters.closing(graph, letters[0].record_key, "resolved", 1),
        failed(graph, "b", 6),
        dead_letters.closing(graph, letters[2].record_key, "superseded", 1),
        failed(graph, "c", 7),
    )
    for answers in (from_here, from_the_start, Answers(log, graph, map(Named.of, letters))):
        found = [answers.poll()[one.record_key].outcome for one in letters]
        assert found == ["resolved", "failed_again", "superseded", "open"]
        assert not answers.settled
    write(dead_letters.closing(graph, letters[3].record_key, "gone", 1))
    from_here.poll()
    assert from_here.settled


def test_what_a_run_says_of_itself_is_read_by_others(opened: Callable[[], Log], graph: str) -> None:
    reading = opened()
    assert last_view(reading, graph) is None
    session = opened().session(owners_seat(graph))
    said = RunSaid("r1", "host:1", "h", True, 1, 2, {"text": StageSaid("running", "c", 3, 1.5, "the sink")})
    session.commit({}, as_state(said))
    assert last_view(reading, graph) == said
    session.close()
