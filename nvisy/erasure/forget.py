"""A person's document has to go: `nvisy forget`.

Whoever forgets owns the graph meanwhile, as whoever repairs does: while stages work, the text stands in their memory,
in what they are about to write, and in files that SQLite cannot shorten while it is read. So nobody could say that it
is gone.

In this order, and each step may be done twice: a mark, which keeps the document away from now on; a delete, in the
topics behind its source, which the stages below carry to every sink; then everything that stood before the delete is
removed, from topics, dead letters, blobs, the cache and the files of stores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from nvisy.connector.descriptor import SinkDescriptor
from nvisy.erasure.at_source import is_at_source
from nvisy.erasure.in_files import erase_blobs, erase_vectors
from nvisy.erasure.in_log import InLog, Traces
from nvisy.erasure.in_stores import InSink
from nvisy.erasure.place import Place
from nvisy.errors import Refused, UsageError
from nvisy.graph.model import Graph
from nvisy.graph.validate import CheckedGraph, check
from nvisy.plan.compile import compile_graph
from nvisy.plan.model import Plan, Stage
from nvisy.runtime.forgotten import Mark, lift_mark, marks_of, put_mark
from nvisy.runtime.generations import Generations, generations_of, plan_under
from nvisy.runtime.run import Run, owner_name
from nvisy.runtime.settings import Settings
from nvisy.topics.log import Claim, Log


@dataclass(frozen=True, slots=True)
class ForgetReport:
    """What became of a document that was to be forgotten.

    Attributes:
        source: The source node.
        key: What the source calls it, which stays: in deletes, in the heads of sinks and in the mark.
        letters: Open dead letters of it that were closed.
        places: Every place that was looked at.
        at_source: Whether the source still lists it; None where that cannot be told, and `source_said` says why.
    """

    graph: str
    source: str
    key: str
    letters: int
    places: tuple[Place, ...]
    at_source: bool | None
    source_said: str
    duration_s: float

    @property
    def is_gone(self) -> bool:
        """Nothing of its text is left anywhere that is ours."""
        return not any(place.until for place in self.places)

    def as_json(self) -> dict[str, Any]:
        """What `nvisy forget --json` prints."""
        return {**asdict(self), "gone": self.is_gone}


def forget(
    graph: Graph | CheckedGraph,
    key: str,
    *,
    source: str | None = None,
    clear_cache: bool = False,
    settings: Settings | None = None,
) -> ForgetReport:
    """Be rid of a document for good, and keep it away. To do it twice is fine.

    Args:
        graph: The graph, which nobody runs meanwhile.
        key: What the source calls the document.
        source: Id of its source node; needed where several sources know such a key.
        clear_cache: Remove all vectors from the cache, not those of the versions alone that the log still has.
        settings: Where the log is; from the environment unless given.

    Raises:
        GraphError: The graph is wrong.
        UsageError: No source knows such a key, or several do; or there is no such source.
        Refused: A run holds the graph, or another generation of an index holds the document too.
        Unreachable: The log, or a store, does not answer. What was done stays done: do it again.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    settings = settings or Settings.from_environ()
    name = checked.graph.id
    with closing(settings.open_log()) as log:
        claim = log.claim(name, owner_name())
        try:
            generations = generations_of(log, name)
            _refuse_others(generations)
            plan = plan_under(checked, generations.layout)
            return _Forgetting(checked, plan, log, claim, settings).forget(
                key, source, clear_cache=clear_cache
            )
        finally:
            claim.release()


def forgotten(graph: Graph | CheckedGraph, *, settings: Settings | None = None) -> Sequence[Mark]:
    """The documents of a graph that are kept away.

    Raises:
        GraphError: The graph is wrong.
        Unreachable: The log does not answer.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    with closing((settings or Settings.from_environ()).open_log()) as log:
        return marks_of(log, checked.graph.id)


def readmit(
    graph: Graph | CheckedGraph, key: str, *, source: str | None = None, settings: Settings | None = None
) -> Mark:
    """Let a document come again that was forgotten: the next run takes it in if its source has it, and has said so.

    Raises:
        GraphError: The graph is wrong.
        UsageError: No such document was forgotten, or several sources have one.
        Refused: A run holds the graph.
        Unreachable: The log does not answer.
    """
    checked = graph if isinstance(graph, CheckedGraph) else check(graph)
    name = checked.graph.id
    with closing((settings or Settings.from_environ()).open_log()) as log:
        meant = [mark for mark in marks_of(log, name) if mark.key == key and source in (None, mark.source)]
        if len(meant) != 1:
            raise UsageError(
                f"several sources of {name} have a forgotten document {key!r}: name one with --source"
                if meant
                else f"no document {key!r} of graph {name} was forgotten; `nvisy forget --list` names those that were"
            )
        claim = log.claim(name, owner_name())
        try:
            lift_mark(log, name, meant[0])
        finally:
            claim.release()
    return meant[0]


class _Forgetting:
    """Forgets under a claim."""

    def __init__(self, checked: CheckedGraph, plan: Plan, log: Log, claim: Claim, settings: Settings) -> None:
        self._checked = checked
        self._plan = plan
        self._log = log
        self._claim = claim
        self._settings = settings
        self._in_log = InLog(checked, plan, log, settings)
        self._sources = sorted({name for stage in plan.stages for name in plan.sources_of(stage)})

    def forget(self, key: str, wanted: str | None, *, clear_cache: bool) -> ForgetReport:
        """Do it."""
        started = time.monotonic()
        source = self._source_of(key, wanted)
        traces = self._in_log.find(source, key)
        sinks = [InSink(self._checked, sink, self._settings) for sink in self._sinks_of(source)]
        before = {sink.sink: sink.count(source, key) for sink in sinks}
        put_mark(self._log, self._plan.graph, Mark(source, key, time.time_ns() // 1_000_000))
        self._delete(source, key, traces)
        erased = (sink.erase(source, key, self._log, self._claim, before[sink.sink]) for sink in sinks)
        in_sinks = [place for place in erased if place is not None]
        n_letters = self._in_log.close_letters(source, key)
        in_topics = list(self._in_log.erase(source, key))
        in_files = list(self._in_files(traces, clear_cache=clear_cache))
        at_source, source_said = is_at_source(self._checked, source, key, self._settings)
        return ForgetReport(
            self._plan.graph,
            source,
            key,
            n_letters,
            (*in_sinks, *in_topics, *in_files),
            at_source,
            source_said,
            round(time.monotonic() - started, 3),
        )

    def _source_of(self, key: str, wanted: str | None) -> str:
        """The source that is meant."""
        if wanted is not None:
            if wanted not in self._sources:
                raise UsageError(
                    f"graph {self._plan.graph} has no source {wanted!r}; there are: {', '.join(self._sources)}"
                )
            candidates = [wanted]
        else:
            candidates = self._sources
        marked = {(mark.source, mark.key) for mark in marks_of(self._log, self._plan.graph)}
        knowing = [
            source
            for source in candidates
            if (source, key) in marked
            or not self._in_log.find(source, key).is_empty
            or any(
                InSink(self._checked, sink, self._settings).knows(source, key)
                for sink in self._sinks_of(source)
            )
        ]
        if len(knowing) == 1:
            return knowing[0]
        if knowing:
            raise UsageError(
                f"the key {key!r} is known from {' and '.join(knowing)}, which need not mean one document: name one"
                " with --source"
            )
        raise UsageError(
            f"no source of graph {self._plan.graph} knows a document {key!r}: nothing was done; `nvisy records` lists"
            " the keys there are"
        )

    def _delete(self, source: str, key: str, traces: Traces) -> None:
        """Let a delete of the document go through the graph, from behind its source."""
        firsts = [stage for stage in self._plan.stages if _begins_at(stage, source)]
        for stage in firsts:
            self._in_log.delete(stage, source, key, traces)
        reached = self._plan.below({stage.id for stage in firsts})
        below = {
            in_graph.id
            for in_graph, stage in zip(compile_graph(self._checked).stages, self._plan.stages, strict=True)
            if stage.id in reached and all(inlet.kind == "topic" for inlet in stage.inlets)
        }
        if below:
            Run(self._checked, stages=below, settings=self._settings).under(self._log, self._claim)

    def _in_files(self, traces: Traces, *, clear_cache: bool) -> Iterator[Place]:
        others = {topic.removesuffix(".dlq") for topic in self._log.topics() if topic.endswith(".dlq")} - {
            self._plan.graph
        }
        is_alone = all(self._log.holder(graph) is None for graph in others)
        yield from erase_blobs(self._in_log, traces, self._settings, is_alone=is_alone)
        yield from erase_vectors(traces, self._settings, clear=clear_cache)

    def _sinks_of(self, source: str) -> list[str]:
        """The sinks with an index that the source's documents go to."""
        return [
            sink
            for stage in self._plan.stages
            if source in self._plan.sources_of(stage)
            for sink in stage.sinks
            if isinstance(self._checked.descriptor(sink), SinkDescriptor)
        ]


def _refuse_others(generations: Generations) -> None:
    """Where an index is being made anew, or a former one is kept, that one holds the document too."""
    others = generations.living.keys() - {generations.current}
    if others or generations.target:
        number = generations.target or max(others)
        raise Refused(
            f"generation {number} of the index is being made, or kept for a way back, and may hold the document too:"
            " `nvisy rebuild --finish` drops it, and then the document can be forgotten"
        )


def _begins_at(stage: Stage, source: str) -> bool:
    return any(inlet.kind != "topic" and inlet.node == source for inlet in stage.inlets)
