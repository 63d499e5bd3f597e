"""Mends what `verify` finds wrong in the indexes of a graph, and nothing else: `nvisy repair`.

Whoever mends an index owns its graph meanwhile: it holds the claim, and its token fences whoever wrote before. So
nothing is on its way, and what the log says of a key is read again where `verify` has found it, made into records as
the stage of the sink makes them, and written whole over whatever is there. What the log does not know is taken out.
To do it twice does nothing: the second time nothing is wrong.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from nvisy.audit.holdings import NOBODYS, Holdings
from nvisy.audit.judging import Drift
from nvisy.audit.ledger import NOWHERE, Ledger, Place
from nvisy.audit.verify import KEPT, Found, SinkReport, Verifying
from nvisy.connector.sink import RecordSet, Writer
from nvisy.errors import Refused
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.query import sinks_to_ask
from nvisy.runtime.generations import plan_of
from nvisy.runtime.run import owner_name
from nvisy.runtime.settings import Settings
from nvisy.runtime.sinks import take_over
from nvisy.topics.log import Claim, Log

SETS_AT_ONCE = 100
FEW = 20
"""So many records are read one by one; of more, their topic is read from the first of them on."""


@dataclass(slots=True)
class Mended:
    """What was done in one sink.

    Attributes:
        found: What was wrong before.
        documents: Documents that were written again, or taken out.
        remaining: How many findings could not be mended.
        faults: What the store said to those that it did not take.
    """

    found: SinkReport
    documents: int = 0
    remaining: int = 0
    faults: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """What `nvisy repair --json` prints of it."""
        counts = {"documents": self.documents, "remaining": self.remaining, "faults": self.faults}
        return {**self.found.as_json(), **counts}


@dataclass(slots=True)
class RepairReport:
    """What `repair` did.

    Attributes:
        sinks: For each sink that was looked at.
        remaining: What could not be mended, the first thousand of it.
        duration_s: How long it took.
    """

    graph: str
    sinks: list[Mended] = field(default_factory=list)
    remaining: list[Drift] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """The indexes hold what the log says."""
        return not any(sink.remaining for sink in self.sinks)

    def as_json(self) -> dict[str, Any]:
        """The last line of `nvisy repair --json`."""
        sinks = [sink.as_json() for sink in self.sinks]
        return {"graph": self.graph, "clean": self.is_clean, "sinks": sinks, "duration_s": self.duration_s}


def repair(
    graph: Graph | CheckedGraph,
    *,
    sink: str | None = None,
    settings: Settings | None = None,
    found: Found | None = None,
) -> RepairReport:
    """Verify the indexes of a graph, and mend what is wrong with them.

    Args:
        graph: The graph, which nobody runs meanwhile.
        sink: Id of the sink node; every one that can be asked unless given.
        settings: Where the log is; from the environment unless given.
        found: Is told of each finding before it is mended.

    Raises:
        GraphError: The graph is wrong.
        UsageError: There is no such sink, or it is not one that can be asked.
        Refused: A run holds the graph, or there is no collection yet.
        Unreachable: The log or the store does not answer.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    settings = settings or Settings.from_environ()
    report = RepairReport(checked.graph.id)
    started = time.monotonic()
    with closing(settings.open_log()) as log:
        sinks = sinks_to_ask(checked, sink)
        claim = log.claim(checked.graph.id, owner_name())
        try:
            plan = plan_of(log, checked)
            for name in sinks:
                with closing(Holdings(checked, plan, name, log, settings)) as holdings:
                    verifying = Verifying(holdings, log, plan, settings, found or (lambda _drift: None))
                    mending = _Mending(checked, holdings, verifying, log, claim, settings, report)
                    verifying.run(0.0, mending.mend)
                    report.sinks.append(mending.done)
        finally:
            claim.release()
    report.duration_s = round(time.monotonic() - started, 3)
    return report


class _Mending:
    """Mends one sink."""

    def __init__(
        self,
        checked: CheckedGraph,
        holdings: Holdings,
        verifying: Verifying,
        log: Log,
        claim: Claim,
        settings: Settings,
        report: RepairReport,
    ) -> None:
        self.done = Mended(verifying.report)
        self._checked = checked
        self._holdings = holdings
        self._verifying = verifying
        self._log = log
        self._claim = claim
        self._settings = settings
        self._report = report

    def mend(self, ledger: Ledger) -> None:
        """Mend what is wrong for certain, and see whether it is right then."""
        if not ledger.n_wrong:
            return
        state, token, name = self._settings.state, self._claim.token, self._holdings.sink
        sink = take_over(
            self._checked,
            name,
            self._log.id,
            state,
            token=token,
            slot=0,
            adopt=False,
            generation=self._holdings.stage.generation(name),
        )
        with closing(sink.writer):
            for topic in self._holdings.topics:
                self._write(sink.writer, self._said_in(ledger, topic))
            self._write(sink.writer, self._emptied(sink.writer, ledger))
        ledger.suspect_wrongs()
        for drift in self._verifying.look_again(ledger):
            self.done.remaining += 1
            if len(self._report.remaining) < KEPT:
                self._report.remaining.append(drift)

    def _said_in(self, ledger: Ledger, topic: str) -> Iterator[RecordSet]:
        """What a topic says of the keys that are wrong, and of which it has the last word."""
        start = ledger.wrong_from(topic)
        if not start:
            return
        info = self._log.describe(topic)
        ends = dict(info.end) if info is not None else {}
        if ledger.n_wrong <= FEW:
            places = ledger.wrong_places(topic)
            records = (self._log.read(topic, partition, offset) for partition, offset in places)
            found = (record for record in records if record is not None)
        else:
            found = (
                record
                for record in self._log.scan(topic, {**ends, **start})
                if ledger.wrong_at((topic, record.partition, record.offset), 1)
            )
        yield from self._holdings.sets_of(found)

    def _emptied(self, writer: Writer, ledger: Ledger) -> Iterator[RecordSet]:
        """Sets without records for the keys that should have none. What is of no source is taken out at once."""
        last: Place | None = None
        while places := ledger.wrong_at(NOWHERE, SETS_AT_ONCE, last):
            last = places[-1]
            nobodys = {place for place in places if place[1] == NOBODYS}
            if nobodys:
                held = self._holdings.records([key for key, _ in nobodys])
                self._check_claim()
                writer.remove([record.id for place, record in held if place in nobodys])
                self.done.documents += len(nobodys)
            for key, number in places:
                if number != NOBODYS:
                    # Any version that comes later is newer than this one.
                    source = self._holdings.sources[number]
                    yield RecordSet(self._holdings.lane(number), key, source, 0, "", ())

    def _write(self, writer: Writer, sets: Iterator[RecordSet]) -> None:
        while batch := list(islice(sets, SETS_AT_ONCE)):
            self._check_claim()
            outcomes = writer.rewrite(_last_of_each(batch))
            faults = [str(outcome.fault) for outcome in outcomes if outcome.fault]
            self.done.documents += len(outcomes) - len(faults)
            self.done.faults += faults[: max(0, KEPT - len(self.done.faults))]

    def _check_claim(self) -> None:
        if self._claim.remaining_s() <= 0:
            raise Refused(
                "the graph was taken over by another run while it was being mended: what is mended stays, and the rest"
                " is mended by doing it again"
            )


def _last_of_each(sets: Sequence[RecordSet]) -> list[RecordSet]:
    """At most one set per key: the one that comes last."""
    return list({(one.lane, one.key): one for one in sets}.values())
