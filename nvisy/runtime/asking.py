"""Has something done about dead letters: by the run that owns the graph now, or by this process where none is live."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from nvisy.connector.descriptor import SourceDescriptor
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Plan
from nvisy.runtime import dead_letters
from nvisy.runtime.dead_letters import DeadLetter, open_entries
from nvisy.runtime.generations import open_letters
from nvisy.runtime.requests import (
    Answer,
    Answers,
    Kind,
    Named,
    Request,
    append_outside,
    ask,
    ends_of,
)
from nvisy.runtime.selection import Selection
from nvisy.runtime.view import owners_seat
from nvisy.topics.log import Log

POLL_S = 0.5
ALIVE_S = 3.0


class Asking:
    """One request about some dead letters, and what becomes of it."""

    def __init__(self, log: Log, graph: str, kind: Kind, selection: Selection) -> None:
        """Choose the letters.

        Raises:
            UsageError: One that is named by its id is not open.
        """
        self._log = log
        self._graph = graph
        self._kind = kind
        ends = ends_of(log, graph)
        self.letters = selection.of(open_letters(log, graph))
        self._answers = Answers(log, graph, map(Named.of, self.letters), ends)
        self._asked: Request | None = None

    @property
    def named(self) -> tuple[Named, ...]:
        """The letters that are still open."""
        answers = self._answers.poll()
        return tuple(Named.of(one) for one in self.letters if answers[one.record_key].outcome == "open")

    def leave_out(self, letters: Iterable[DeadLetter]) -> None:
        """Nothing can be done about these."""
        out = {letter.record_key for letter in letters}
        self.letters = [letter for letter in self.letters if letter.record_key not in out]

    def by_owner(self) -> bool:
        """Leave a request to the run that owns the graph and wait until it is carried out; False if there is no run.

        Interrupted, the request stands, and that run or the next one carries it out.
        """
        while named := self.named:
            if self._log.holder(self._graph) is None:
                return False
            if self._asked is None:
                self._asked = ask(self._log, self._graph, Request(self._kind, named))
            self._wait()
        return True

    def answers(self) -> Mapping[bytes, Answer]:
        """What became of the letters, by record key."""
        return self._answers.poll()

    def _wait(self) -> None:
        until = time.monotonic() + ALIVE_S
        while self.named and time.monotonic() < until:
            time.sleep(POLL_S)


def drop_here(log: Log, graph: str, owner: str, letters: Iterable[Named]) -> None:
    """Close dead letters as the owner of their graph.

    Raises:
        Refused: A run holds it.
    """
    claim = log.claim(graph, owner)
    try:
        wanted = {(one.key, one.entry) for one in letters}
        still_open = [one for one in open_entries(log, graph) if (one.record_key, one.entry) in wanted]
        partitions = len(ends_of(log, graph))
        closings = [dead_letters.closing(graph, one.record_key, "dropped", partitions) for one in still_open]
        append_outside(log, graph, owners_seat(graph).stage, closings)
    finally:
        claim.release()


def not_readable_again(
    checked: CheckedGraph, plan: Plan, letters: Iterable[DeadLetter]
) -> list[tuple[DeadLetter, str]]:
    """The letters that no replay can do anything about, each with the reason."""
    reasons = ((letter, _why_not(checked, plan, letter)) for letter in letters)
    return [(letter, why) for letter, why in reasons if why]


def _why_not(checked: CheckedGraph, plan: Plan, letter: DeadLetter) -> str:
    stage = next((one for one in plan.stages if one.id == letter.stage), None)
    if stage is None:
        return f"the graph has no stage {letter.stage} any more; the next run closes it"
    for inlet in stage.inlets:
        descriptor = checked.nodes[inlet.node].descriptor
        is_stream = isinstance(descriptor, SourceDescriptor) and descriptor.capabilities.resume == "position"
        if inlet.kind == "source" and is_stream:
            return (
                f"source {inlet.node} goes on from a position and cannot read one document again: change the document"
                " at the source, or run with --adopt to read all of it"
            )
    return ""
