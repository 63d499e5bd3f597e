"""The steps of a stage: each takes a batch of flights and gives one back, in order, none lost and none doubled."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from nvisy.connector.action import BatchAction, EachAction
from nvisy.errors import Fatal, NvisyError, Rejected
from nvisy.fault_points import Point, reach
from nvisy.primitives.chunk import Chunk
from nvisy.primitives.primitive import Primitive
from nvisy.primitives.provenance import Provenance
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.deadline import Within, without_limit
from nvisy.runtime.flight import Failure, Flight, Ticket
from nvisy.runtime.retry import RetryPolicy

Step = Callable[[list[Flight]], list[Flight]]


class Identities:
    """Gives what a node made its identity, and notes on all of it that it passed the node."""

    def __init__(self, node: str, config: str) -> None:
        self._node = node
        self._suffix = f"{node}@{config}"
        self._steps: dict[str, str] = {}

    def children(
        self,
        parent: Primitive,
        made: Iterable[Primitive],
        origin: Provenance,
        seen: Counter[str] | None = None,
    ) -> list[Primitive]:
        """The primitives that `parent` became. `seen` counts equal chunks within the change."""
        seen = Counter() if seen is None else seen
        steps = self._steps.get(parent.steps) or self._extend(parent.steps)
        identified: list[Primitive] = []
        for ordinal, child in enumerate(made):
            if child is parent:
                identified.append(child.replaced(steps=steps))
                continue
            if isinstance(child, Chunk):
                # Named by what it says, so that text inserted above it does not rename it.
                content = child.content_hash
                seen[content] = count = seen.get(content, 0) + 1
                discriminator = f"{content}#{count}"
            else:
                discriminator = f"{parent.id}:{ordinal}"
            identified.append(
                child.identified(
                    discriminator=discriminator,
                    node=self._node,
                    steps=steps,
                    parent=parent.id,
                    provenance=origin,
                )
            )
        return identified

    def _extend(self, steps: str) -> str:
        extended = self._steps[steps] = f"{steps}/{self._suffix}" if steps else self._suffix
        return extended


class EachStep:
    """Runs an action that looks at one primitive at a time; `within` makes each call."""

    def __init__(
        self,
        node: str,
        action: EachAction,
        identities: Identities,
        retry: RetryPolicy,
        counters: NodeCounters,
        within: Within = without_limit,
    ) -> None:
        self._node = node
        self._action = action
        self._identities = identities
        self._retry = retry
        self._counters = counters
        self._within = within

    def __call__(self, flights: list[Flight]) -> list[Flight]:
        """Every flight, with what the action made of its items."""
        return [
            flight if flight.failure or not flight.change.items else self._one(flight) for flight in flights
        ]

    def _one(self, flight: Flight) -> Flight:
        change = flight.change
        seen: Counter[str] = Counter()
        items: list[Primitive] = []
        self._counters.received += len(change.items)
        try:
            for item in change.items:
                made = self._retry.call(partial(self._within, partial(self._made, item)))
                items += self._identities.children(item, made, change.origin, seen)
                self._counters.filtered += not made
        except Rejected as error:
            self._counters.failed += 1
            return flight.failed(Failure.of(self._node, error))
        self._counters.emitted += len(items)
        return flight.onward(change.with_items(tuple(items)))

    def _made(self, item: Primitive) -> list[Primitive]:
        """What the action makes of an item. A defect of an action costs the document that brings it out, no more."""
        try:
            return list(self._action.each(item))
        except NvisyError:
            raise
        except Exception as error:
            raise Rejected(f"{type(error).__name__}: {error}{_line_of(error)}", kind="defect") from error


def _line_of(error: BaseException) -> str:
    """Where something was raised, ` (shout.py:21)`, or nothing."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


class Assembly:
    """Puts what the items of a change became into the change, or fails it where one was rejected."""

    def __init__(self, node: str, identities: Identities, counters: NodeCounters) -> None:
        self._node = node
        self._identities = identities
        self._counters = counters

    def finish(self, flight: Flight, results: Sequence[Primitive | Rejected]) -> Flight:
        """The flight with `results`, one per item of its change."""
        change = flight.change
        self._counters.received += len(results)
        for result in results:
            if isinstance(result, Rejected):
                self._counters.failed += 1
                return flight.failed(Failure.of(self._node, result))
        seen: Counter[str] = Counter()
        items: list[Primitive] = []
        for item, result in zip(change.items, results, strict=True):
            if not isinstance(result, Rejected):
                items += self._identities.children(item, (result,), change.origin, seen)
        self._counters.emitted += len(items)
        return flight.onward(change.with_items(tuple(items)))


class BatchStep:
    """Runs an action that is cheaper for many primitives at once, across the documents of a batch.

    A call that is rejected, or takes longer than `within` allows, is halved down to the item at fault.
    """

    def __init__(
        self,
        node: str,
        action: BatchAction,
        identities: Identities,
        retry: RetryPolicy,
        counters: NodeCounters,
        within: Within = without_limit,
    ) -> None:
        self._node = node
        self._action = action
        self._retry = retry
        self._assembly = Assembly(node, identities, counters)
        self._within = within

    def __call__(self, flights: list[Flight]) -> list[Flight]:
        """Every flight, with what the action made of its items; one that had a rejected item, failed."""
        items = [item for flight in flights if not flight.failure for item in flight.change.items]
        made = iter(self._run(items))
        return [
            flight
            if flight.failure
            else self._assembly.finish(flight, list(islice(made, len(flight.change.items))))
            for flight in flights
        ]

    def _run(self, items: Sequence[Primitive]) -> list[Primitive | Rejected]:
        results: list[Primitive | Rejected] = []
        size = self._action.max_batch
        for start in range(0, len(items), size):
            results += self._ask(items[start : start + size])
        reach(Point.STEP_DONE)
        return results

    def _ask(self, batch: Sequence[Primitive], tried: int = 0) -> list[Primitive | Rejected]:
        """An answer for each; `tried`: how often they were asked before, among others."""
        tries = 0

        def call() -> Sequence[Primitive | Rejected]:
            nonlocal tries
            tries += 1
            return self._action.batch(batch)

        try:
            answers = self._retry.call(partial(self._within, call))
        except Rejected as rejected:
            if len(batch) == 1:
                rejected.attempts += tried
                return [rejected]
            middle, tried = len(batch) // 2, tried + tries
            return self._ask(batch[:middle], tried) + self._ask(batch[middle:], tried)
        if len(answers) != len(batch):
            raise Fatal(f"node {self._node}: {len(answers)} results came back for {len(batch)} items")
        return list(answers) if tried + tries == 1 else [_tried(one, tried + tries) for one in answers]


def _tried(answer: Primitive | Rejected, attempts: int) -> Primitive | Rejected:
    """The answer; a rejection with how often it was tried, and as a copy, for actions answer many with the same."""
    if isinstance(answer, Rejected):
        answer = copy(answer)
        answer.attempts = attempts
    return answer


class RouteStep:
    """Sends each item of a change to the first route whose condition holds, and the change itself to every route."""

    def __init__(
        self,
        node: str,
        routes: Sequence[tuple[str, Callable[[Primitive], Any]]],
        default: str | None,
        identities: Identities,
        counters: NodeCounters,
    ) -> None:
        self._node = node
        self._routes = routes
        self._default = default
        self._identities = identities
        self._counters = counters

    def __call__(self, flights: list[Flight]) -> list[tuple[Flight, Mapping[str, tuple[Primitive, ...]]]]:
        """Each flight with its items by port."""
        return [self._one(flight) for flight in flights]

    def _one(self, flight: Flight) -> tuple[Flight, Mapping[str, tuple[Primitive, ...]]]:
        ports: dict[str, tuple[Primitive, ...]] = {}
        if flight.failure:
            return flight, ports
        self._counters.received += len(flight.change.items)
        try:
            for item in flight.change.items:
                port = next((port for port, when in self._routes if when(item)), self._default)
                if port is None:
                    self._counters.filtered += 1
                    continue
                passed = self._identities.children(item, (item,), flight.change.origin)
                ports[port] = (*ports.get(port, ()), *passed)
                self._counters.emitted += 1
        except Rejected as error:
            self._counters.failed += 1
            return flight.failed(Failure.of(self._node, error)), {}
        return flight, ports


def port_of(port: str) -> Callable[[list[tuple[Flight, Mapping[str, tuple[Primitive, ...]]]]], list[Flight]]:
    """The step that follows a route: the flights as that port sees them."""

    def pick(routed: list[tuple[Flight, Mapping[str, tuple[Primitive, ...]]]]) -> list[Flight]:
        return [
            flight if flight.failure else flight.onward(flight.change.with_items(ports.get(port, ())))
            for flight, ports in routed
        ]

    return pick


class JoinStep:
    """Puts the parts of a change that came along different ways together again.

    Every change reaches every way exactly once, so how many parts belong together is known when the graph is
    compiled: `arity` gives it by the topic, or source, that the change was read from. One failed part fails the whole.
    """

    def __init__(self, arity: Mapping[str, int], counters: NodeCounters | None = None) -> None:
        self._arity = arity
        self._counters = counters
        self._parts: dict[Ticket, list[Flight]] = {}

    def __call__(self, flights: list[Flight]) -> list[Flight]:
        """The flights that are complete with these, in the order in which they became so."""
        whole: list[Flight] = []
        for flight in flights:
            parts = self._parts.setdefault(flight.ticket, [])
            parts.append(flight)
            if len(parts) == self._arity[flight.ticket.at.topic]:
                whole.append(self._merge(self._parts.pop(flight.ticket)))
        return whole

    def _merge(self, parts: list[Flight]) -> Flight:
        failed = next((part for part in parts if part.failure), None)
        if failed:
            return failed
        items = tuple({item.id: item for part in parts for item in part.change.items}.values())
        if self._counters:
            self._counters.received += sum(len(part.change.items) for part in parts)
            self._counters.emitted += len(items)
        return parts[0].onward(parts[0].change.with_items(items))
