"""The window: calls side by side, full, none twice; flights out in the order they came in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest

from nvisy.connector.action import AskingAction, BatchAction, Question
from nvisy.errors import Fatal, Rejected, Transient
from nvisy.primitives import Document, Primitive
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.outage import Breaker
from nvisy.runtime.outlets import Patience
from nvisy.runtime.retry import RetryPolicy
from nvisy.runtime.steps import Assembly, Identities
from nvisy.runtime.window import Window
from nvisy.topics.log import TopicPartition


class Shouting:
    """Puts texts in capitals, slowly; refuses calls with `bad` in them."""

    def __init__(self, latency_s: float = 0.0, max_batch: int = 4) -> None:
        self.max_batch = max_batch
        self.max_in_flight = 16
        self.asked: list[list[str]] = []
        self.known_before: dict[str, str] = {}
        self.errors: list[Exception] = []
        self.most = 0
        self.closed = False
        self.kept = 0
        self._latency_s = latency_s
        self._now = 0
        self._lock = threading.Lock()

    def questions(self, items: Sequence[Primitive]) -> Sequence[Question]:
        return [Question(item.text, item.text) for item in items]  # type: ignore[attr-defined]

    def known(self, keys: Sequence[str]) -> Mapping[str, Any]:
        return {key: self.known_before[key] for key in keys if key in self.known_before}

    def ask(self, questions: Sequence[Question]) -> Sequence[Any]:
        texts = [question.content for question in questions]
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
            self.asked.append(texts)
        # later calls overtake earlier ones
        time.sleep(self._latency_s * (1.5 if len(self.asked) % 2 else 0.5))
        with self._lock:
            self._now -= 1
        if self.errors:
            raise self.errors.pop(0)
        if any("bad" in text for text in texts):
            raise Rejected("it is bad", kind="badness")
        return [text.upper() for text in texts]

    def keep(self, questions: Sequence[Question], answers: Sequence[Any]) -> None:
        self.kept += len(answers)

    def answered(self, item: Primitive, question: Question, answer: Any) -> Primitive | Rejected:
        return answer if isinstance(answer, Rejected) else Document(text=answer)

    def is_up(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def flight(offset: int, *texts: str) -> Flight:
    origin = Provenance("files", f"k{offset}", version=Version(1, offset))
    items = tuple(
        Document(text=text).identified(
            discriminator=str(place), node="files", steps="", parent="", provenance=origin
        )
        for place, text in enumerate(texts)
    )
    return Flight(Change(origin, "upsert", items), Ticket(TopicPartition("t", 0), offset))


Opened = Callable[..., Window]


@pytest.fixture
def opened() -> Iterator[Opened]:
    windows: list[Window] = []

    def open_window(
        action: Shouting,
        *,
        calls: int = 16,
        stopped: Callable[[], bool] = lambda: False,
        follow: bool = False,
    ) -> Window:
        patience = Patience(RetryPolicy(None if follow else 8), lambda _error, _delay_s: None, stopped)
        breaker = Breaker(RetryPolicy(2, initial_delay_s=0.01), patience, action.is_up)
        assembly = Assembly("shout", Identities("shout", "c0ffee00"), NodeCounters())
        windows.append(Window("shout", action, assembly, breaker, calls=calls, stopped=stopped))
        return windows[-1]

    yield open_window
    for window in windows:
        window.close()
        window.close()


def taken(window: Window, count: int, seconds: float = 60) -> list[Flight]:
    out: list[Flight] = []
    until = time.monotonic() + seconds
    while len(out) < count:
        out += window.take()
        assert time.monotonic() < until, f"{len(out)} of {count}"
        time.sleep(0.001)
    return out


def texts(flights: Sequence[Flight]) -> list[list[str]]:
    return [[item.text for item in one.change.items] for one in flights]  # type: ignore[attr-defined]


def test_the_double_asks():
    assert isinstance(Shouting(), AskingAction)
    assert not isinstance(Shouting(), BatchAction)


def test_flights_come_out_in_the_order_they_went_in_whatever_overtakes(opened: Opened):
    action = Shouting(0.01)
    window = opened(action)
    for start in range(0, 200, 20):
        window.put([flight(offset, f"a{offset}", f"b{offset}") for offset in range(start, start + 20)])
    out = taken(window, 200)
    assert texts(out) == [[f"A{offset}", f"B{offset}"] for offset in range(200)]
    assert action.most > 1


def test_calls_are_filled_across_documents(opened: Opened):
    action = Shouting()
    window = opened(action)
    window.put([flight(offset, f"t{offset}") for offset in range(40)])
    taken(window, 40)
    assert [len(asked) for asked in action.asked] == [4] * 10
    assert action.kept == 40


def test_a_single_document_is_not_kept_waiting_for_more(opened: Opened):
    action = Shouting(max_batch=256)
    window = opened(action)
    window.put([flight(0, "only")])
    taken(window, 1)
    assert action.asked == [["only"]]


def test_no_more_calls_are_in_flight_than_allowed(opened: Opened):
    action = Shouting(0.02)
    window = opened(action, calls=3)
    window.put([flight(offset, f"t{offset}") for offset in range(60)])
    taken(window, 60)
    assert action.most <= 3


def test_equal_questions_are_asked_once(opened: Opened):
    action = Shouting(0.02)
    window = opened(action)
    window.put([flight(0, "same", "same"), flight(1, "same")])
    window.put([flight(2, "same", "other")])
    assert texts(taken(window, 3)) == [["SAME", "SAME"], ["SAME"], ["SAME", "OTHER"]]
    assert sorted(text for asked in action.asked for text in asked) == ["other", "same"]


def test_what_is_known_is_not_asked(opened: Opened):
    action = Shouting()
    action.known_before = {"known": "before"}
    window = opened(action)
    window.put([flight(0, "known"), flight(1, "new", "known")])
    assert texts(taken(window, 2)) == [["before"], ["NEW", "before"]]
    assert action.asked == [["new"]]


def test_a_refused_call_is_halved_down_to_the_question_at_fault(opened: Opened):
    action = Shouting(max_batch=64)
    window = opened(action)
    window.put([flight(offset, "bad" if offset == 21 else f"t{offset}") for offset in range(64)])
    out = taken(window, 64)
    assert [one.ticket.offset for one in out if one.failure] == [21]
    assert out[21].failure is not None
    assert (out[21].failure.node, out[21].failure.kind) == ("shout", "badness")
    assert len(action.asked) <= 13


def test_failed_flights_and_those_without_items_keep_their_place(opened: Opened):
    action = Shouting(0.02)
    failed = flight(1, "x").failed(Failure("before", "kind", "message"))
    window = opened(action)
    window.put([flight(0, "a"), failed, flight(2), flight(3, "b")])
    out = taken(window, 4)
    assert [one.ticket.offset for one in out] == [0, 1, 2, 3]
    assert out[1] is failed
    assert texts([out[0], out[2], out[3]]) == [["A"], [], ["B"]]


def test_a_call_that_failed_for_the_moment_is_repeated(opened: Opened):
    action = Shouting()
    action.errors = [Transient("later"), Transient("later")]
    window = opened(action)
    window.put([flight(0, "a")])
    assert texts(taken(window, 1)) == [["A"]]


@pytest.mark.parametrize("error", [Fatal("no key"), ValueError("a defect")])
def test_what_a_call_dies_of_is_raised_where_flights_are_taken(opened: Opened, error: Exception):
    action = Shouting()
    action.errors = [error]
    window = opened(action)
    window.put([flight(0, "a")])
    with pytest.raises(type(error), match=str(error)):
        taken(window, 1)


def test_an_outage_that_lasts_is_raised(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    action = Shouting()
    monkeypatch.setattr(action, "is_up", lambda: False)
    action.errors = [Transient("down")] * 10
    window = opened(action)
    window.put([flight(0, "a")])
    with pytest.raises(Transient, match="down"):
        taken(window, 1)


def test_answers_that_are_missing_end_the_stage(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    action = Shouting()
    monkeypatch.setattr(action, "ask", lambda _: [])
    window = opened(action)
    window.put([flight(0, "a")])
    with pytest.raises(Fatal, match="0 answers came back for 1 questions"):
        taken(window, 1)


def test_after_an_order_to_stop_an_outage_is_left_at_once(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("nvisy.runtime.window.STOP_GRACE_S", 3600)
    stop = threading.Event()
    action = Shouting()
    monkeypatch.setattr(action, "is_up", lambda: False)
    action.errors = [Transient("down")] * 100_000
    window = opened(action, stopped=stop.is_set, follow=True)
    window.put([flight(0, "a")])
    while len(action.asked) < 3:
        time.sleep(0.01)
    stop.set()
    until = time.monotonic() + 60
    while not window.abandoned and time.monotonic() < until:
        assert window.take() == []
        time.sleep(0.01)
    assert window.abandoned


@pytest.mark.parametrize("what", ["questions", "known", "ask", "keep"])
def test_neither_end_waits_for_what_the_action_does(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, what: str
):
    action = Shouting()
    does, under_way, may_go_on = getattr(action, what), threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        under_way.set()
        assert may_go_on.wait(60)
        return does(*arguments)

    monkeypatch.setattr(action, what, slow)
    window = opened(action)
    window.put([flight(0, "t0")])
    assert under_way.wait(60)
    for offset in range(1, 50):
        window.put([flight(offset, f"t{offset}")])
        assert window.take() == []
    may_go_on.set()
    assert texts(taken(window, 50)) == [[f"T{offset}"] for offset in range(50)]


def test_closing_closes_the_action_and_ends_the_threads(opened: Opened):
    action = Shouting()
    window = opened(action)
    window.put([flight(0, "a")])
    taken(window, 1)
    window.close()
    assert action.closed
    assert not any(thread.is_alive() for thread in window._threads)


def test_versions_of_a_key_leave_in_order(opened: Opened):
    window = opened(Shouting(0.005, max_batch=1))
    window.put([flight(offset, f"v{offset}") for offset in range(100)])
    offsets = [one.ticket.offset for one in taken(window, 100)]
    assert all(before < after for before, after in pairwise(offsets))


def test_all_calls_are_under_way_while_there_is_work(opened: Opened, monkeypatch: pytest.MonkeyPatch):
    action = Shouting(max_batch=8)
    ask, all_there = action.ask, threading.Barrier(16)

    def together(questions: Sequence[Question]) -> Sequence[Any]:
        all_there.wait(60)  # a call goes through once fifteen others are under way
        return ask(questions)

    monkeypatch.setattr(action, "ask", together)
    window = opened(action)
    count = 8 * 16 * 10
    window.put([flight(offset, f"t{offset}") for offset in range(count)])
    assert len(taken(window, count)) == count
