"""`deduplicate` at work: the end of a stage that decides, for every content, which document keeps it.

One change in may be several out: what a document gives up, the next one in line takes over, and is read again from the
input topic. Offsets of the output topic are new versions, so that a document that takes over supersedes itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from nvisy.actions.first_owner import Decision, FirstOwner, Name, Seen
from nvisy.primitives.change import Change
from nvisy.primitives.provenance import Provenance, Version
from nvisy.runtime.counters import NodeCounters
from nvisy.runtime.flight import Flight, Ticket
from nvisy.runtime.outlets import Outlet
from nvisy.runtime.steps import Identities
from nvisy.topics.log import TopicPartition

ReadBack = Callable[[Ticket], Change | None]


class DeduplicatingOutlet(Outlet):
    """Stands before a stage's topic and lets through, of every content, the copy of its owner."""

    def __init__(
        self,
        inner: Outlet,
        owners: FirstOwner,
        read_back: ReadBack,
        identities: Identities,
        counters: NodeCounters,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._owners = owners
        self._read_back = read_back
        self._identities = identities
        self._counters = counters

    def write(self, flights: Sequence[Flight]) -> Sequence[Flight]:
        """Write what each change decides; of a change, the part that is its own and what others take over."""
        out = [decided for flight in flights for decided in self._decided(flight)]
        return self._inner.write(out)

    def sweep(self, source: str, epoch: int) -> Sequence[Flight]:
        """What a full pass did not confirm is deleted, and what it kept from others goes to them."""
        older = self._owners.older(source, Version(epoch, 0))
        return self.write([_deletion(name, ticket_of(ref), epoch) for name, ref in older])

    def committed(self, positions: Mapping[TopicPartition, int]) -> None:
        """The input has been read up to these positions, and what it decided is in the output topic."""
        self._owners.commit({_place(at): offset for at, offset in positions.items()})

    def close(self) -> None:
        """Close the memory; what was not committed is decided again."""
        self._inner.close()
        self._owners.close()

    def _decided(self, flight: Flight) -> Iterator[Flight]:
        change = flight.change
        self._counters.received += len(change.items)
        for decision in self._owners.apply(seen(change, flight.place)):
            its_own = decision.name == (change.origin.source, change.origin.key)
            found = change if its_own else self._found(decision)
            if found is not None:
                kept = self._kept(found, decision)
                self._counters.emitted += len(kept.items)
                if its_own:
                    self._counters.filtered += len(change.items) - len(kept.items)
                yield flight.onward(kept)

    def _found(self, decision: Decision) -> Change | None:
        """What another document says; None if a newer version of it is still to come."""
        return self._read_back(ticket_of(decision.ref)) if decision.ref else None

    def _kept(self, change: Change, decision: Decision) -> Change:
        origin = change.origin
        unnumbered = Provenance(
            origin.source,
            origin.key,
            origin.uri,
            None,
            origin.partition,
            origin.observed_at_us,
            origin.run,
            self.name,
        )
        items = [
            kept
            for item in change.items
            if item.content_hash in decision.owned
            for kept in self._identities.children(item, (item,), unnumbered)
        ]
        return Change(unnumbered, change.op, tuple(items), change.fingerprint, change.graph, change.trace)


def _deletion(name: Name, last: Ticket, epoch: int) -> Flight:
    """A delete that nobody saw happen, of a document whose last version was read at `last`."""
    version = Version(epoch, 0)
    origin = Provenance(name.source, name.key, version=version, partition=last.at.partition)
    return Flight(Change(origin, "delete"), last)


def seen(change: Change, ticket: Ticket) -> Seen:
    """A change as the memory takes note of it."""
    origin = change.origin
    return Seen(
        Name(origin.source, origin.key),
        origin.version or Version(0, ticket.offset),
        frozenset(item.content_hash for item in change.items),
        None if change.op == "delete" else f"{_place(ticket.at)}/{ticket.offset}",
    )


def ticket_of(ref: str) -> Ticket:
    """The place that a reference names."""
    topic, partition, offset = ref.rsplit("/", 2)
    return Ticket(TopicPartition(topic, int(partition)), int(offset))


def bring_up(
    owners: FirstOwner,
    positions: Mapping[TopicPartition, int],
    records: Callable[[], Iterator[tuple[Ticket, Change]]],
) -> None:
    """Make the memory what it was when `positions` were committed, from the input topics if it is not.

    What it decided then is in the output topic, in the same commit as the positions, so nothing is written again.
    """
    committed = {_place(at): offset for at, offset in positions.items() if offset > 0}
    if {place: offset for place, offset in owners.positions.items() if offset > 0} == committed:
        return
    owners.clear()
    for ticket, change in records():
        if ticket.offset < positions.get(ticket.at, 0):
            owners.apply(seen(change, ticket))
    owners.commit(committed)


def _place(at: TopicPartition) -> str:
    return f"{at.topic}/{at.partition}"
