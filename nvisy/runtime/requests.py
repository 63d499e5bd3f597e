"""What somebody asks the owner of a graph to do: records of the topic `<graph>.requests`.

Dead letters are written by the owner alone. A command that finds a run live appends a request, keyed by an id of its
own; the run polls the topic and hands the request to the stages it is about. Whatever becomes of it shows in the dead
letters: each entry that it names is closed, or another entry of its key stands in its place. Once that is so for all of
them, the owner removes the request with a tombstone. So a request outlives the command that made it and the run that
took it, and to carry it out twice does nothing.

A rebuild is asked for in the same way; what becomes of it stands in the graph's generations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Self
from uuid import uuid4

import orjson

from nvisy.errors import Refused
from nvisy.runtime.dead_letters import DeadLetter, parsed, topic_of
from nvisy.topics.log import Append, Log, LogRecord, Seat

FORMAT = 1
TRIES = 5

Kind = Literal["replay", "drop", "rebuild", "rollback", "finish"]
ABOUT_GENERATIONS = frozenset({"rebuild", "rollback", "finish"})
CLOSED = frozenset({"resolved", "superseded", "dropped", "gone", "closed"})
"""Outcomes after which a dead letter is no more."""


class Named(NamedTuple):
    """A dead letter as a request names it: where it belongs, its record key, and which entry of that key."""

    stage: str
    key: bytes
    entry: str

    @classmethod
    def of(cls, letter: DeadLetter) -> Self:
        """The name of an open one."""
        return cls(letter.stage, letter.record_key, letter.entry)


@dataclass(frozen=True, slots=True)
class Request:
    """Something to be done about some dead letters, or about the generations of the indexes.

    Attributes:
        order: Of a request about generations: what there is to know beside its kind.
    """

    kind: Kind
    letters: tuple[Named, ...]
    id: str = ""
    order: Mapping[str, Any] = field(default_factory=dict)

    def of_stage(self, stage: str) -> list[Named]:
        """The letters of one stage."""
        return [letter for letter in self.letters if letter.stage == stage]

    def to_json(self) -> bytes:
        """The value of its record."""
        said = {"format": FORMAT, "kind": self.kind, "letters": as_lists(self.letters)}
        return orjson.dumps({**said, "order": dict(self.order)} if self.order else said)

    @classmethod
    def from_record(cls, record: LogRecord) -> Self:
        """The request in a record.

        Raises:
            Refused: It was written by a later version of Nvisy.
        """
        said: dict[str, Any] = orjson.loads(record.value or b"{}")
        if said.get("format") != FORMAT:
            raise Refused(
                f"topic {record.topic!r} holds a request of format {said.get('format')}, this version of nvisy reads"
                f" format {FORMAT}: upgrade nvisy"
            )
        return cls(
            said["kind"], from_lists(said["letters"]), (record.key or b"").decode(), said.get("order", {})
        )


def as_lists(letters: Iterable[Named]) -> list[list[str]]:
    """Names as JSON can carry them: a record key may be any bytes."""
    return [[stage, key.hex(), entry] for stage, key, entry in letters]


def from_lists(lists: Iterable[Sequence[str]]) -> tuple[Named, ...]:
    """The names that `as_lists` wrote down."""
    return tuple(Named(stage, bytes.fromhex(key), entry) for stage, key, entry in lists)


def requests_topic(graph: str) -> str:
    """The topic of a graph's requests."""
    return f"{graph}.requests"


def append_outside(log: Log, graph: str, role: str, records: Sequence[Append]) -> None:
    """Append records in a session that belongs to no stage. Who comes later in the same role fences who came first.

    Raises:
        Refused: Again and again somebody else took the seat.
    """
    for left in reversed(range(TRIES)):
        try:
            _append_once(log, Seat(graph, role, "", (), ()), records)
            break
        except Refused:
            if not left:
                raise


def _append_once(log: Log, seat: Seat, records: Sequence[Append]) -> None:
    session = log.session(seat)
    try:
        session.append(records)
        session.commit({})
    finally:
        session.close()


def ask(log: Log, graph: str, request: Request) -> Request:
    """Leave a request for the owner. Returns it with its id."""
    asked = replace(request, id=uuid4().hex[:12])
    log.create(requests_topic(graph), 1)
    record = Append(requests_topic(graph), 0, asked.id.encode(), asked.to_json())
    append_outside(log, graph, "/requests", [record])
    return asked


def answered(graph: str, request: Request) -> Append:
    """The tombstone of a request that has nothing left to do."""
    return Append(requests_topic(graph), 0, request.id.encode(), None)


class Inbox:
    """The requests of a graph, as its owner reads them."""

    def __init__(self, log: Log, graph: str) -> None:
        self._log = log
        self._graph = graph
        self._next = 0
        self.standing: dict[str, Request] = {}

    def poll(self) -> list[Request]:
        """The requests that came since the last call and still stand."""
        info = self._log.describe(requests_topic(self._graph))
        if info is None or info.end[0] <= self._next:
            return []
        came: dict[str, Request] = {}
        for record in self._log.scan(info.name, {0: self._next}):
            key = (record.key or b"").decode()
            came.pop(key, None)
            self.standing.pop(key, None)
            if record.value is not None:
                came[key] = Request.from_record(record)
        self._next = info.end[0]
        self.standing |= came
        return list(came.values())


def standing(log: Log, graph: str) -> Sequence[Request]:
    """The requests that nobody has carried out yet."""
    return Inbox(log, graph).poll()


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a dead letter.

    Attributes:
        outcome: `open`, `failed_again`, or why it was closed: `resolved`, `superseded`, `dropped`, `gone`; `closed`
            where that was too long ago to be known.
        again: The entry that stands in its place, where it failed again.
    """

    outcome: str
    again: DeadLetter | None = None


class Answers:
    """Follows what becomes of dead letters: what comes first after each of them."""

    def __init__(
        self, log: Log, graph: str, letters: Iterable[Named], start: Mapping[int, int] | None = None
    ) -> None:
        """Follow `letters`, in the dead letters from offsets `start` on: at these, all of them were open."""
        self._log = log
        self._graph = graph
        self._entries = {letter.key: letter.entry for letter in letters}
        self._answers = {key: Answer("open") for key in self._entries}
        self._next = dict(start or {})
        self._not_found = set() if start is not None else set(self._entries)

    def poll(self) -> Mapping[bytes, Answer]:
        """What is known by now, by record key."""
        info = self._log.describe(topic_of(self._graph))
        ends = info.end if info is not None else {}
        if all(self._next.get(partition, 0) >= end for partition, end in ends.items()):
            return self._answers
        for record in self._log.scan(topic_of(self._graph), self._next):
            self._note(record)
        for key in self._not_found & {
            one for one, answer in self._answers.items() if answer.outcome == "open"
        }:
            self._answers[key] = Answer("closed")
        self._not_found = set()
        self._next = dict(ends)
        return self._answers

    @property
    def settled(self) -> bool:
        """None of them is open as it was."""
        return all(answer.outcome != "open" for answer in self._answers.values())

    def _note(self, record: LogRecord) -> None:
        key = record.key or b""
        if key not in self._entries:
            return
        answer = _answer(record, self._entries[key])
        if answer.outcome == "open":
            self._not_found.discard(key)
        if answer.outcome == "open" or key in self._not_found or self._answers[key].outcome == "open":
            self._answers[key] = answer


def _answer(record: LogRecord, entry: str) -> Answer:
    if record.value is None:
        return Answer(dict(record.headers).get("nvisy.closed", b"resolved").decode("utf-8", "replace"))
    found = parsed(record)
    return Answer("open") if found.entry == entry else Answer("failed_again", found)


def ends_of(log: Log, graph: str) -> Mapping[int, int]:
    """Where the dead letters end now."""
    info = log.describe(topic_of(graph))
    return info.end if info is not None else {}
