"""Steps: every flight in comes out once, with its items named, or failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Event

import pytest

from nvisy.errors import Rejected, Transient
from nvisy.primitives import Chunk, Document, Primitive
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.deadline import Deadline
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.retry import RetryPolicy
from nvisy.runtime.steps import BatchStep, EachStep, Identities, JoinStep, RouteStep, port_of
from nvisy.topics.log import TopicPartition

ONCE = RetryPolicy(max_retries=0)


def flight(offset: int, *texts: str, topic: str = "t", op: str = "upsert") -> Flight:
    origin = Provenance("files", f"k{offset}", version=Version(1, offset))
    items = tuple(
        Document(text=text).identified(
            discriminator=text, node="files", steps="", parent="", provenance=origin
        )
        for text in texts
    )
    return Flight(Change(origin, op, items), Ticket(TopicPartition(topic, 0), offset))  # type: ignore[arg-type]


def texts(flights: Sequence[Flight]) -> list[list[str]]:
    return [[item.text for item in one.change.items] for one in flights]  # type: ignore[attr-defined]


class Words:
    """Cuts a document into its words; refuses `bad`."""

    def each(self, item: Primitive) -> Iterable[Primitive]:
        assert isinstance(item, Document)
        if item.text == "bad":
            raise Rejected("it is bad", kind="badness")
        return [Chunk(text=word, ordinal=place) for place, word in enumerate(item.text.split())]

    def close(self) -> None: ...


class Upper:
    """Makes new documents of several at once; refuses `bad`."""

    max_batch = 2

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def batch(self, items: Sequence[Primitive]) -> Sequence[Primitive | Rejected]:
        self.sizes.append(len(items))
        return [self._one(item) for item in items]

    def _one(self, item: Primitive) -> Primitive | Rejected:
        assert isinstance(item, Document)
        return Rejected("it is bad") if item.text == "bad" else Document(text=item.text.upper())

    def close(self) -> None: ...


def words() -> EachStep:
    return EachStep("words", Words(), Identities("words", "c0ffee00"), ONCE, NodeCounters())


def test_a_bad_document_fails_alone_and_in_its_place() -> None:
    out = words()([flight(0, "a b"), flight(1, "bad"), flight(2, "c")])
    assert texts([out[0], out[2]]) == [["a", "b"], ["c"]]
    assert out[1].failure is not None
    assert (out[1].failure.node, out[1].failure.kind, out[1].failure.message) == (
        "words",
        "badness",
        "it is bad",
    )


def test_a_failed_flight_passes_every_step_untouched() -> None:
    failed = words()([flight(1, "bad")])
    assert words()(failed) == failed


def test_a_delete_passes_with_nothing_in_it() -> None:
    (out,) = words()([flight(3, op="delete")])
    assert (out.change.op, out.change.items) == ("delete", ())


def test_chunks_are_named_by_what_they_say_so_that_text_above_them_renames_none() -> None:
    (before,) = words()([flight(0, "x y x")])
    (after,) = words()([flight(0, "new x y x")])
    assert {item.id for item in before.change.items} < {item.id for item in after.change.items}
    assert len({item.id for item in after.change.items}) == 4


def test_steps_tell_every_node_with_its_configuration() -> None:
    (out,) = BatchStep("up", Upper(), Identities("up", "2"), ONCE, NodeCounters())(
        EachStep("same", Same(), Identities("same", "1"), ONCE, NodeCounters())([flight(0, "a")])
    )
    assert [item.steps for item in out.change.items] == ["same@1/up@2"]


class Same:
    def each(self, item: Primitive) -> Iterable[Primitive]:
        return [item]

    def close(self) -> None: ...


def test_batches_reach_across_documents_and_a_rejected_item_fails_its_own_change() -> None:
    action = Upper()
    out = BatchStep("up", action, Identities("up", "2"), ONCE, NodeCounters())(
        [flight(0, "a", "b"), flight(1, "c", "bad"), flight(2, "d")]
    )
    assert action.sizes == [2, 2, 1]
    assert texts([out[0], out[2]]) == [["A", "B"], ["D"]]
    assert out[1].failure is not None


def test_what_may_succeed_later_is_tried_again() -> None:
    class Flaky(Same):
        tries = 0

        def each(self, item: Primitive) -> Iterable[Primitive]:
            self.tries += 1
            if self.tries < 3:
                raise Transient("not now")
            return [item]

    policy = RetryPolicy(max_retries=2, initial_delay_s=0)
    (out,) = EachStep("flaky", Flaky(), Identities("flaky", "1"), policy, NodeCounters())([flight(0, "a")])
    assert texts([out]) == [["a"]]
    with pytest.raises(Transient):
        EachStep("flaky", Flaky(), Identities("flaky", "1"), ONCE, NodeCounters())([flight(0, "a")])


def test_every_change_goes_down_every_route_if_only_empty() -> None:
    step = RouteStep(
        "route",
        [("short", lambda item: len(item.text) < 3)],
        "long",
        Identities("route", "1"),
        NodeCounters(),
    )
    routed = step([flight(0, "a", "long one"), flight(1, "b")])
    assert texts(port_of("short")(routed)) == [["a"], ["b"]]
    assert texts(port_of("long")(routed)) == [["long one"], []]


def test_parts_of_a_change_are_joined_when_all_are_there() -> None:
    join = JoinStep({"t": 2, "u": 1})
    assert join([flight(0, "a"), flight(1, "b")]) == []
    assert texts(join([flight(1, "c"), flight(5, "z", topic="u")])) == [["b", "c"], ["z"]]
    assert texts(join([flight(0, "d")])) == [["a", "d"]]


def test_a_failed_part_fails_the_whole() -> None:
    join = JoinStep({"t": 2})
    failed = words()([flight(0, "bad")])
    (whole,) = join([flight(0, "a"), *failed])
    assert whole.failure is not None


def test_a_defect_of_an_action_costs_the_document_that_brings_it_out() -> None:
    class Careless(Same):
        def each(self, item: Primitive) -> Iterable[Primitive]:
            return [item] if item.text != "bad" else [None][1:][0]  # type: ignore[attr-defined]

    step = EachStep("careless", Careless(), Identities("careless", "1"), ONCE, NodeCounters())
    good, bad = step([flight(0, "good"), flight(1, "bad")])
    assert texts([good]) == [["good"]]
    assert bad.failure is not None
    assert bad.failure.kind == "defect"
    assert "IndexError" in bad.failure.message
    assert "test_steps.py" in bad.failure.message


def test_a_failure_tells_how_often_the_item_was_tried() -> None:
    class Worse(Same):
        tries = 0

        def each(self, item: Primitive) -> Iterable[Primitive]:
            self.tries += 1
            raise Transient("not now") if self.tries < 3 else Rejected("never")

    policy = RetryPolicy(max_retries=5, initial_delay_s=0)
    (out,) = EachStep("worse", Worse(), Identities("worse", "1"), policy, NodeCounters())([flight(0, "a")])
    assert out.failure is not None
    assert out.failure.attempts == 3
    (once,) = words()([flight(0, "bad")])
    assert once.failure is not None
    assert once.failure.attempts == 1


def test_a_batch_that_was_repeated_counts_for_each_of_its_items() -> None:
    class Later(Upper):
        def batch(self, items: Sequence[Primitive]) -> Sequence[Primitive | Rejected]:
            if not self.sizes:
                self.sizes.append(0)
                raise Transient("not now")
            return super().batch(items)

    policy = RetryPolicy(max_retries=5, initial_delay_s=0)
    good, bad = BatchStep("up", Later(), Identities("up", "1"), policy, NodeCounters())(
        [flight(0, "a"), flight(1, "bad")]
    )
    assert texts([good]) == [["A"]]
    assert bad.failure is not None
    assert bad.failure.attempts == 2


def test_a_batch_that_is_rejected_as_a_whole_is_halved_down_to_the_item_at_fault() -> None:
    class Strict(Upper):
        max_batch = 4

        def batch(self, items: Sequence[Primitive]) -> Sequence[Primitive | Rejected]:
            if any(item.text == "bad" for item in items):  # type: ignore[attr-defined]
                raise Rejected("there is a bad one")
            return super().batch(items)

    out = BatchStep("up", Strict(), Identities("up", "1"), ONCE, NodeCounters())(
        [flight(place, text) for place, text in enumerate(["a", "b", "bad", "d"])]
    )
    assert texts([out[0], out[1], out[3]]) == [["A"], ["B"], ["D"]]
    assert out[2].failure is not None
    assert out[2].failure.attempts == 3


def test_a_call_that_takes_longer_than_the_node_allows_costs_the_document_that_it_is_for() -> None:
    waiting = Event()

    class Slow(Same):
        def each(self, item: Primitive) -> Iterable[Primitive]:
            if item.text == "slow":  # type: ignore[attr-defined]
                waiting.wait(10)
            return [item]

    within = Deadline("slow", 0.2).call
    step = EachStep("slow", Slow(), Identities("slow", "1"), ONCE, NodeCounters(), within)
    slow, good = step([flight(0, "slow"), flight(1, "good")])
    waiting.set()
    assert texts([good]) == [["good"]]
    assert slow.failure is not None
    assert (slow.failure.kind, slow.failure.retryable) == ("timeout", True)
