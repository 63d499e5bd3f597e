"""Opening the outlets of a stage: what its changes leave through, each of its own kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nvisy.actions.first_owner import FirstOwner
from nvisy.graph.validate import CheckedGraph
from nvisy.plan.model import Inlet, Stage
from nvisy.plan.model import Outlet as Planned
from nvisy.primitives.change import Change
from nvisy.runtime.codecs import Codecs
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.deduplicate import DeduplicatingOutlet, bring_up
from nvisy.runtime.flight import Ticket
from nvisy.runtime.foreign import EventsOutlet
from nvisy.runtime.outlets import Outlet, Patience, SinkOutlet, TopicOutlet
from nvisy.runtime.reading import Decoder
from nvisy.runtime.sinks import OpenSink
from nvisy.runtime.steps import Identities
from nvisy.topics.log import Log, Session


@dataclass(frozen=True, slots=True)
class OutletOpening:
    """Opens the outlets of one stage of a run.

    Attributes:
        config: Of the stage's seat.
        state: Folder of what a run keeps on this machine.
        session: Of the stage; its positions are settled.
        sinks: Those that the stage has taken over.
        decoder: What reads an inlet of the stage.
    """

    checked: CheckedGraph
    stage: Stage
    config: str
    state: Path
    log: Log
    session: Session
    codecs: Codecs
    sinks: Sequence[OpenSink]
    patience: Patience
    counters: StageCounters
    decoder: Callable[[Inlet], Decoder]

    def open(self, planned: Planned, inc: int) -> Outlet:
        """The outlet that stands in the plan. Changes that are numbered behind it get incarnation `inc`."""
        match planned.kind:
            case "topic":
                topic = TopicOutlet(planned.name, self.session, self.codecs.codec, inc)
                return self._deduplicating(topic) if self.stage.alone else topic
            case "foreign":
                return self._events(planned.node)
            case _:
                sink = next(one for one in self.sinks if one.node == planned.node)
                return SinkOutlet(self.checked.graph.id, sink, self.patience, self.counters)

    def _deduplicating(self, topic: TopicOutlet) -> Outlet:
        graph, node = self.checked.graph.id, self.stage.nodes[0]
        owners = FirstOwner(self.state / "owners" / f"{graph}.{self.stage.id}.{self.config}.db")

        def records() -> Iterator[tuple[Ticket, Change]]:
            for inlet in self.stage.inlets:
                for record in self.log.scan(inlet.name):
                    yield Ticket.of(record), self.decoder(inlet).decode(record)

        def read_back(ticket: Ticket) -> Change | None:
            inlet = next(one for one in self.stage.inlets if one.name == ticket.at.topic)
            record = self.log.read(*ticket.at, ticket.offset)
            return self.decoder(inlet).decode(record) if record is not None else None

        bring_up(owners, self.session.positions(), records)
        identities = Identities(node, self.checked.nodes[node].config_hash)
        return DeduplicatingOutlet(topic, owners, read_back, identities, self.counters.node(node))

    def _events(self, node: str) -> EventsOutlet:
        info = self.log.describe(self.checked.nodes[node].params.topic)
        partitions = info.partitions if info else self.checked.graph.log.partitions
        return self.codecs.events_outlet(node, self.session, partitions, self.counters.node(node))
