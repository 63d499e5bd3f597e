"""Whether the indexes of a graph hold what its log says, to the record: `nvisy verify`.

First everything: the topic before the sink is read once, the index is read once, and the two are brought together by
key, on disk (`ledger.py`). What is the same is proved. What differs may be on its way, so it is looked at again: first
how far the sink has committed, then the index, then the topic to its end. If the latest change of a key lies below what
was committed before the index was read, the index has to hold it; if it lies above, it is on its way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from nvisy.audit.expected import Expected
from nvisy.audit.holdings import NOBODYS, Holdings, is_swept
from nvisy.audit.judging import Drift, Head, HeldFingerprint, Kind
from nvisy.audit.ledger import EXPECTED, HEAD, NOWHERE, RECORD, UNKNOWN, Ledger, Place
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.model import Plan
from nvisy.query import sinks_to_ask
from nvisy.runtime.generations import plan_of
from nvisy.runtime.settings import Settings
from nvisy.runtime.view import last_view
from nvisy.topics.log import Log, TopicPartition

KEPT = 1_000
"""So many findings are kept in a report; all of them are counted, and given to who asked for each."""

SUSPECTS_AT_ONCE = 500
PAUSE_S = 0.5
PATIENCE_S = 60.0

Found = Callable[[Drift], None]
Mend = Callable[[Ledger], None]
"""Is given what is wrong for certain, after all of it was found."""


@dataclass(slots=True)
class SinkReport:
    """What was found in one sink.

    Attributes:
        keys: Documents that were compared, those that the log or the index alone has among them.
        records: Records that the index holds.
        drift: How many findings of each kind.
        on_their_way: Documents whose latest change is not applied yet.
        known_stale: Documents of which an older version stays, since a dead letter of the newer one is open or the
            stage of the sink can make nothing of it.
        not_confirmed: Documents of which a log that no longer begins with its first record says nothing.
        how: How records were checked: `log`, each against what the log leads to; `head`, each against its head, and
            the head's version against the log; `store`, against its head alone.
        remarks: What a reader of the report should know.
    """

    sink: str
    how: str = "log"
    keys: int = 0
    records: int = 0
    drift: dict[Kind, int] = field(default_factory=dict)
    on_their_way: int = 0
    known_stale: int = 0
    not_confirmed: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong with it."""
        return not any(self.drift.values())

    def as_json(self) -> dict[str, Any]:
        """What `nvisy verify --json` prints of it."""
        names = [name for name in self.__slots__ if name != "drift"]
        counts = {kind: self.drift.get(kind, 0) for kind in ("missing", "extra", "stale", "damaged")}
        return {**{name: getattr(self, name) for name in names}, "drift": counts}


@dataclass(slots=True)
class Report:
    """What `verify` found.

    Attributes:
        sinks: One report for each that was looked at.
        drift: The findings, the first thousand of them.
        duration_s: How long it took.
    """

    graph: str
    sinks: list[SinkReport] = field(default_factory=list)
    drift: list[Drift] = field(default_factory=list)
    duration_s: float = 0.0

    @property
    def is_clean(self) -> bool:
        """The indexes hold what the log says."""
        return all(sink.is_clean for sink in self.sinks)

    def as_json(self) -> dict[str, Any]:
        """The last line of `nvisy verify --json`."""
        sinks = [sink.as_json() for sink in self.sinks]
        return {"graph": self.graph, "clean": self.is_clean, "sinks": sinks, "duration_s": self.duration_s}


def verify(
    graph: Graph | CheckedGraph,
    *,
    sink: str | None = None,
    settings: Settings | None = None,
    found: Found | None = None,
    patience_s: float = PATIENCE_S,
) -> Report:
    """Compare what the indexes of a graph hold with what its log says. Reads only; the graph may be running.

    Args:
        graph: The graph.
        sink: Id of the sink node; every one that can be asked unless given.
        settings: Where the log is; from the environment unless given.
        found: Is told of each finding as soon as it is certain.
        patience_s: How long what a live run has on its way is waited for, in seconds.

    Raises:
        GraphError: The graph is wrong.
        UsageError: There is no such sink, or it is not one that can be asked.
        Refused: There is no collection yet.
        Unreachable: The log or the store does not answer.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    settings = settings or Settings.from_environ()
    report = Report(checked.graph.id)
    started = time.monotonic()

    def note(drift: Drift) -> None:
        if len(report.drift) < KEPT:
            report.drift.append(drift)
        if found is not None:
            found(drift)

    with closing(settings.open_log()) as log:
        plan = plan_of(log, checked)
        for name in sinks_to_ask(checked, sink):
            with closing(Holdings(checked, plan, name, log, settings)) as holdings:
                report.sinks.append(Verifying(holdings, log, plan, settings, note).run(patience_s))
    report.duration_s = round(time.monotonic() - started, 3)
    return report


class Verifying:
    """Verifies one sink."""

    def __init__(self, holdings: Holdings, log: Log, plan: Plan, settings: Settings, found: Found) -> None:
        self._holdings = holdings
        self._log = log
        self._plan = plan
        self._settings = settings
        self._found = found
        self.report = SinkReport(holdings.sink)

    def run(self, patience_s: float, mend: Mend | None = None) -> SinkReport:
        """Look at everything, then again at what differs, until that is certain or `patience_s` seconds have passed."""
        self._remark()
        with closing(Ledger(self._settings.state)) as ledger:
            self._gather(ledger)
            self._compare(ledger)
            self._settle(ledger, patience_s)
            if mend is not None:
                mend(ledger)
        return self.report

    def look_again(self, ledger: Ledger) -> Iterator[Drift]:
        """Look at everything that is kept aside. What is certain then is kept aside no longer, wrong or not."""
        last: Place | None = None
        while places := ledger.suspects(last, SUSPECTS_AT_ONCE):
            last = places[-1]
            yield from self._look_at(ledger, places)

    def _remark(self) -> None:
        holdings, report = self._holdings, self.report
        if holdings.unlogged:
            report.how = "store"
            report.remarks.append(
                "no topic lies between the source and this sink, so the log does not say what it has to hold: records"
                " were held against the index's own heads"
            )
        elif holdings.making.why_not:
            report.how = "head"
            report.remarks.append(holdings.making.why_not)
        view = last_view(self._log, self._plan.graph)
        if view is not None and view.graph_hash != self._plan.hash:
            report.remarks.append(
                "the graph was changed since it was run last: what its next run will make anew is not compared"
            )
        if holdings.n_incomplete():
            report.remarks.append(
                "a topic no longer begins with its first record: what it does not name is not called extra"
            )

    def _gather(self, ledger: Ledger) -> None:
        """Both sides, onto the disk."""
        for place, expected in self._holdings.read_on():
            ledger.say(EXPECTED, place, expected.pack())
        for place, head in self._holdings.heads():
            ledger.say(HEAD, place, head.pack())
        for place, record in self._holdings.records():
            ledger.say(RECORD, place, record.pack())

    def _compare(self, ledger: Ledger) -> None:
        """What is the same at first sight is so; what is not is kept aside."""
        exceptions = _Exceptions(self._holdings)
        for said in ledger.together():
            records = {one.id: one for one in map(HeldFingerprint.unpack, said.records)}
            latest = Expected.latest(said.expected)
            expected = exceptions.wanted(said.place, latest)
            head = Head.unpack(said.heads[-1]) if said.heads else None
            self.report.keys += said.place[1] != NOBODYS
            self.report.records += len(records)
            if self._holdings.differences(said.place, expected, head, records) or _has_failed(expected):
                ledger.suspect(said.place, latest.pack() if latest else None)

    def _settle(self, ledger: Ledger, patience_s: float) -> None:
        """Look at what differs until it is certain, or on its way to an index that nobody writes."""
        until = time.monotonic() + patience_s
        while ledger.n_suspects:
            before = self._holdings.committed()
            for drift in self.look_again(ledger):
                self.report.drift[drift.kind] = self.report.drift.get(drift.kind, 0) + 1
                self._found(drift)
            self.report.on_their_way = ledger.n_suspects
            is_moving = self._holdings.committed() != before or self._log.holder(self._plan.graph) is not None
            if not is_moving or time.monotonic() > until:
                return
            if ledger.n_suspects:
                time.sleep(PAUSE_S)

    def _look_at(self, ledger: Ledger, places: Sequence[Place]) -> list[Drift]:
        """Look at some keys."""
        holdings = self._holdings
        # The order decides: what was committed before the index is read is in it, and what comes after is read last.
        before, committed = _Exceptions(holdings), holdings.committed()
        keys = sorted({key for key, _ in places})
        heads = dict(holdings.heads(keys))
        records: dict[Place, dict[str, HeldFingerprint]] = {}
        for place, record in holdings.records(keys):
            records.setdefault(place, {})[record.id] = record
        moving = {place for place, head in holdings.heads(keys) if heads.get(place) != head}
        for place, expected in holdings.read_on():
            if ledger.is_suspect(place):
                ledger.suspect(place, expected.after(_expected(ledger, place)).pack())
        exceptions = _Exceptions(holdings)
        moving |= {place for place in places if before.of(place) != exceptions.of(place)}
        drift: list[Drift] = []
        settled: list[Place] = []
        for place in places:
            held = _Held(heads.get(place), records.get(place, {}))
            if place not in moving and not self._is_on_its_way(
                ledger, exceptions, place, held, committed, drift
            ):
                settled.append(place)
        ledger.settled(settled)
        return drift

    def _is_on_its_way(
        self,
        ledger: Ledger,
        exceptions: _Exceptions,
        place: Place,
        held: _Held,
        committed: Mapping[TopicPartition, int],
        drift: list[Drift],
    ) -> bool:
        """Whether a key has a change that is not applied yet. If not, what is wrong with it goes into `drift`."""
        latest = _expected(ledger, place)
        expected = exceptions.wanted(place, latest)
        found = self._holdings.differences(place, expected, *held)
        if not found and not _has_failed(expected):
            return False
        if expected is not None and expected.offset >= committed.get(expected.at, 0):
            return True
        said_at = exceptions.said_at(place, expected)
        if exceptions.is_known_stale(place, expected):
            self.report.known_stale += 1  # of the older version that stays nothing may be lost either
            found, said_at = self._holdings.within(place, *held), UNKNOWN
        elif exceptions.is_not_confirmed(place, expected):
            self.report.not_confirmed += 1
            found, said_at = self._holdings.within(place, *held), UNKNOWN
        drift += found
        if found:
            ledger.wrong(place, said_at, latest.pack() if latest else None)
        return False


class _Held(NamedTuple):
    """What an index holds of a key."""

    head: Head | None
    records: Mapping[str, HeldFingerprint]


class _Exceptions:
    """What else decides what an index has to hold: sweeps, dead letters, topics that have lost their beginning."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._swept = holdings.swept()
        self._letters = holdings.letters()
        self._is_incomplete = holdings.n_incomplete() > 0

    def wanted(self, place: Place, latest: Expected | None) -> Expected | None:
        """What the index has to hold, given the latest change of a key in the log."""
        number = place[1]
        if latest is None or number < 0 or not is_swept(latest, self._holdings.sources[number], self._swept):
            return latest
        return None

    def of(self, place: Place) -> tuple[int, int]:
        """What concerns one key: up to where its source was swept, and the version of its open dead letter."""
        key, number = place
        source = self._holdings.sources[number] if number >= 0 else ""
        return self._swept.get(source, 0), self._letters.get((source, key), -1)

    def said_at(self, place: Place, expected: Expected | None) -> tuple[str, int, int]:
        """Where the log says what is right of a key."""
        if place[1] in self._holdings.unlogged or (expected is not None and not expected.is_known):
            return UNKNOWN
        return NOWHERE if expected is None else (expected.topic, expected.partition, expected.offset)

    def is_known_stale(self, place: Place, expected: Expected | None) -> bool:
        """Whether the latest change of a key could not be applied, and that is known."""
        key, number = place
        if expected is None or number < 0:
            return False
        letter = self._letters.get((self._holdings.sources[number], key))
        return _has_failed(expected) or (letter is not None and letter >= expected.version)

    def is_not_confirmed(self, place: Place, expected: Expected | None) -> bool:
        """Whether the log says nothing of a key, and may have lost what it said."""
        is_logged = place[1] >= 0 and place[1] not in self._holdings.unlogged
        return expected is None and is_logged and self._is_incomplete


def _has_failed(expected: Expected | None) -> bool:
    """Whether the stage of the sink could make nothing of a change: an older version stays."""
    return expected is not None and bool(expected.failed)


def _expected(ledger: Ledger, place: Place) -> Expected | None:
    packed = ledger.expected(place)
    return Expected.unpack(packed) if packed is not None else None
