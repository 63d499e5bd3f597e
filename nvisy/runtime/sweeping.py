"""What follows when a source was passed over in full: what the pass did not confirm is removed, the word handed on.

An epoch is the incarnation that such a pass counts from. Whatever has a lower version and was not named again is gone
at the source.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from nvisy.plan.model import Plan, Stage
from nvisy.primitives.primitive import content_hash
from nvisy.runtime.dead_letter_book import DeadLetterBook
from nvisy.runtime.memory import Memory
from nvisy.runtime.messages import Send, line
from nvisy.runtime.numbering import Numbering
from nvisy.runtime.outlets import Outlet, SinkOutlet
from nvisy.runtime.records import lane_of
from nvisy.topics.log import Log, Session

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Sweeping:
    """The sweeps of one life of a stage. Used by its writing thread, while nothing is uncommitted.

    Attributes:
        nodes: Ids of all nodes of the graph.
        numberings: How the topics of other programs that the stage reads are numbered, by name.
        send: Tells the supervisor.
    """

    plan: Plan
    stage: Stage
    nodes: Collection[str]
    log: Log
    session: Session
    memory: Memory
    numberings: Mapping[str, Numbering]
    outlets: Sequence[Outlet]
    book: DeadLetterBook
    send: Send
    _passed: set[str] = field(default_factory=set, init=False)

    def begin(self) -> None:
        """Before anything is written: sinks may get lanes from now on that they were known not to hold."""
        if self.stage.sinks and not self.memory.knows_lanes(self._mark):
            self.memory.has_lanes("")

    def own_sources(self) -> None:
        """Everything that the stage's own sources hold is through."""
        memory = self.memory
        if memory.complete != memory.epoch:
            memory.has_completed(memory.epoch)
        self.sweep(
            {
                inlet.node: memory.epoch if inlet.kind == "source" else self._read_whole(inlet.name)
                for inlet in self.stage.inlets
                if inlet.kind != "topic"
            }
        )

    def sweep(self, sources: Mapping[str, int]) -> None:
        """Remove what is older than these epochs, once for each, and pass the word on to the stages below."""
        if not sources:
            return
        for source, epoch in sources.items():
            if epoch > max(1, self.memory.swept(source)):
                self._sweep_source(source, epoch)
                self.memory.has_swept(source, epoch)
        self._forget_lanes(sources)
        if self.stage.outputs:
            epoch_below = self.memory.epoch if self.stage.alone else 0
            self.send(line("passed", sources={name: epoch_below or sources[name] for name in sources}))

    def _read_whole(self, topic: str) -> int:
        """The epoch of a topic of other programs; none if its beginning has expired, so that it confirms nothing."""
        info = self.log.describe(topic)
        epoch = self.numberings[topic].read_whole
        if epoch > 1 and (info is None or any(info.start.values())):
            _logger.warning(
                "topic %s begins after its first record by now: what was deleted in the gap is not known,"
                " and stays in the index",
                topic,
            )
            return 0
        return epoch

    def _sweep_source(self, source: str, epoch: int) -> None:
        # Other copies of the stage keep letters too: what they have written since is newer than the pass, and stays.
        self.book.read_again(self.log)
        for outlet in self.outlets:
            refused = outlet.sweep(source, epoch)
            self.session.append(self.book.entries(outlet.name, refused))
            self.session.append(self.book.outdated(source, epoch))
            self.session.commit({}, outlet.state())
            outlet.committed({})

    def _forget_lanes(self, sources: Mapping[str, int]) -> None:
        """When all its sources are through: what nodes that the graph no longer has left in a sink goes."""
        self._passed |= sources.keys()
        if not self.stage.sinks or not self._passed >= self.plan.sources_of(self.stage):
            return
        if self.memory.knows_lanes(self._mark):
            return
        for outlet in self.outlets:
            if isinstance(outlet, SinkOutlet):
                outlet.forget_lanes(self._lanes)
        self.memory.has_lanes(self._mark)

    @property
    def _lanes(self) -> set[str]:
        """Every lane that the nodes of the graph may write to."""
        return {lane_of(self.plan.graph, sink, source) for sink in self.nodes for source in (*self.nodes, "")}

    @property
    def _mark(self) -> str:
        return content_hash(*sorted(self._lanes))
