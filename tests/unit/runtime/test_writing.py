"""What is written and committed when versions of a key, new and replayed ones, come through in any order."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nvisy.errors import Unreachable
from nvisy.primitives.provenance import Version
from nvisy.runtime import dead_letters
from nvisy.runtime.ack import AckTracker
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.dead_letters import OpenEntry
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.outlets import Outlet
from nvisy.runtime.writing import WritingThread
from nvisy.topics.log import Append, TopicPartition
from tests.unit.runtime.letters import AT, again, flight


class Topic:
    """The log: what was committed, and a session that dies when it is told to."""

    def __init__(self) -> None:
        self.records: list[Append] = []
        self.position = 0

    def session(self, calls: int) -> Session:
        return Session(self, calls)

    def book(self) -> dict[bytes, OpenEntry]:
        found: dict[bytes, OpenEntry] = {}
        for record in self.records:
            if record.topic == "g.dlq" and record.value is not None:
                found[record.key] = dead_letters.as_open(record)
            elif record.topic == "g.dlq":
                found.pop(record.key, None)
        return found


class Session:
    def __init__(self, topic: Topic, calls: int) -> None:
        self._topic = topic
        self._calls = calls
        self._pending: list[Append] = []

    def append(self, records: Sequence[Append]) -> None:
        self._count()
        self._pending += records

    def commit(self, positions: Mapping[TopicPartition, int], state: object = None) -> None:
        self._count()
        assert positions.keys() <= {AT}, "a replay moves no position"
        self._topic.records += self._pending
        self._topic.position = max(self._topic.position, positions.get(AT, 0))
        self._pending = []

    def _count(self) -> None:
        self._calls -= 1
        if not self._calls:
            raise Unreachable("the process was killed")


class ToTopic(Outlet):
    name = "g.embed"

    def __init__(self, session: Session) -> None:
        self._session = session

    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        records = [
            Append("g.embed", 0, one.change.origin.key.encode(), b"%d" % one.change.origin.version.number)
            for one in flights
        ]
        self._session.append(records)
        return ()


class ToSink(Outlet):
    name = "index"
    waits = True

    def __init__(self, session: Session) -> None: ...

    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        return ()


class Nobody:
    def state(self, positions: Any) -> dict[str, bytes]:
        return {}

    def committed(self, flights: Any, positions: Any) -> None: ...
    def between_commits(self) -> None: ...
    def at_end(self) -> None: ...


class Counted(Session):
    n_commits = 0

    def commit(self, positions: Mapping[TopicPartition, int], state: object = None) -> None:
        super().commit(positions, state)
        self.n_commits += 1


@pytest.mark.parametrize(("to", "n_commits"), [(ToTopic, 5), (ToSink, 1)])
def test_what_shows_only_when_it_is_committed_is_committed_at_once_the_rest_in_a_pause(
    to: Callable[[Session], Outlet], n_commits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nvisy.runtime.writing.COMMIT_IDLE_S", 0.0 if to is ToTopic else 30.0)
    monkeypatch.setattr("nvisy.runtime.writing.COMMIT_BUSY_S", 1000.0)
    session, tracker = Counted(Topic(), 0), AckTracker()
    writing = WritingThread(
        session,
        [to(session)],
        tracker,
        DeadLetterBook("g", "text", 1, {}),
        inputs=frozenset({AT.topic}),
        desk=Nobody(),
    )
    writing.start()
    for offset in range(1, 6):
        tracker.register(Ticket(AT, offset), 1, 1)
        writing.hand_over(0, [flight(offset)])
        while not tracker.idle or (to is ToTopic and not writing.idle):
            time.sleep(0.001)
    writing.finish(settle=False)
    assert session.n_commits == n_commits
    assert session._topic.position == 6


def live(log: Topic, steps: Sequence[tuple[str, str, bool, int]], calls: int) -> None:
    """One life of a stage: reads on from the position, replays what it is asked to, dies after some calls."""
    session, tracker = log.session(calls), AckTracker()
    book = DeadLetterBook("g", "text", 1, log.book())
    writing = WritingThread(
        session, [ToTopic(session)], tracker, book, inputs=frozenset({AT.topic}), desk=Nobody()
    )
    writing.start()
    offset = 0
    for number, (kind, key, failed, which) in enumerate(steps):
        if kind == "new":
            offset += 1
            if offset <= log.position:
                continue
            coming = flight(offset, failed=failed, key=key)
        else:
            entries = [
                one for one in log.records if one.key == f"text/g.embed/files/{key}".encode() and one.value
            ]
            if not entries:
                continue
            letter = dead_letters.as_open(entries[which % len(entries)])
            off = Version.of(letter.version).off
            coming = again(off, letter.entry, failed=failed, key=key, number=number)
        tracker.register(coming.ticket, 1, 1)
        try:
            writing.hand_over(0, [coming])
        except Unreachable:
            return
    with contextlib.suppress(Unreachable):
        writing.finish(settle=False)


STEP = st.tuples(
    st.sampled_from(["new", "new", "replay"]), st.sampled_from("ab"), st.booleans(), st.integers(0, 3)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, min_size=1, max_size=30), st.lists(st.integers(1, 12), max_size=3))
def test_versions_of_a_key_never_decrease_whatever_is_replayed_and_whenever_the_process_dies(
    steps: list[tuple[str, str, bool, int]], deaths: list[int]
) -> None:
    log = Topic()
    for calls in [*deaths, 0]:
        live(log, steps, calls)
    for key in (b"a", b"b"):
        versions = [int(one.value) for one in log.records if one.topic == "g.embed" and one.key == key]
        assert versions == sorted(versions)
