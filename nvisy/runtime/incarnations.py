"""Settles the incarnations that a stage begins with: of the changes it numbers, and of topics of other programs.

Both may lead back to the beginning of the input, so they are settled before anything is opened that goes on from a
position.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from nvisy.plan.model import Stage
from nvisy.runtime.lookout import Lookout
from nvisy.runtime.memory import recalled
from nvisy.runtime.numbering import Numbering, numbering_of
from nvisy.runtime.seating import Seating
from nvisy.topics.log import Log, Seat, TopicInfo, TopicPartition


@dataclass(frozen=True, slots=True)
class Incarnations:
    """What was settled.

    Attributes:
        own: Of changes that have no version until they leave the stage; 0 where all of them have one.
        numberings: How the topics of other programs that it reads are numbered, by name.
        ordered: Up to where partitions of these have to be read in turn.
        lookout: Looks out for partitions that are added to them.
    """

    own: int
    numberings: Mapping[str, Numbering]
    ordered: Mapping[TopicPartition, int]
    lookout: Lookout


def settle(stage: Stage, seat: Seat, log: Log, seating: Seating, at_least: int) -> Incarnations:
    """Settle them, and the epoch of the stage; what is numbered here gets this incarnation at least."""
    names = [inlet.name for inlet in stage.inlets if inlet.kind == "foreign"]
    infos = {name: info for name in names if (info := log.describe(name)) is not None}
    numberings = _numberings(infos, seat, log, seating, at_least)
    ordered = {
        at: end for name, info in infos.items() for at, end in numberings[name].to_be_ordered(info).items()
    }
    lookout = Lookout(log, numberings, seating.session.positions() if numberings else {})
    return Incarnations(_own(stage, seat, log, seating, at_least), numberings, ordered, lookout)


def _numberings(
    infos: Mapping[str, TopicInfo], seat: Seat, log: Log, seating: Seating, at_least: int
) -> Mapping[str, Numbering]:
    """How topics of other programs are numbered, by name; the stage goes back to where that has to be read again."""
    now_ms, anew = time.time_ns() // 1_000_000, False
    numberings: dict[str, Numbering] = {}
    for name, info in infos.items():
        before, certain = seating.memory.numbering(name), seating.memory.certain(name)
        if before is None:
            before, certain = recalled(log, seat.graph, name)
        numberings[name] = numbering_of(info, before, at_least, certain, now_ms)
        anew = anew or (before is not None and before.read_whole != numberings[name].read_whole)
    if anew:
        seating.start_over()
    back: dict[TopicPartition, int] = {}
    for name, info in infos.items():
        here = {at.partition: place for at, place in seating.session.positions().items() if at.topic == name}
        numberings[name] = numberings[name].read_from(here)
        back |= numberings[name].begins_again(info)
    seating.go_back(back)
    for numbering in numberings.values():
        seating.memory.is_numbered(numbering)
    return numberings


def _own(stage: Stage, seat: Seat, log: Log, seating: Seating, at_least: int) -> int:
    """The incarnation of changes that have no version until they leave the stage, or 0."""
    topics = {name: info.id for name in stage.outputs if (info := log.describe(name))}
    if topics and (stage.source or stage.alone):
        inc = seating.memory.incarnation(topics, at_least)
        if stage.alone and seating.memory.epoch not in (0, inc):
            seating.start_over()  # every decision is made, and written, anew
        seating.memory.begin_epoch(inc)
        return inc
    if stage.source:
        # Nothing is kept between the source and the sink: what is made of it otherwise has to be read again.
        is_anew = not seating.memory.began_epoch_as(seat.config)
        inc = seating.memory.next_unlogged_incarnation(at_least)
        if at_least > seating.memory.epoch or seating.is_rewound or is_anew:
            seating.memory.begin_epoch(inc, seat.config)
        return inc
    return 0
