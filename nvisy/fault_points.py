"""Named places in the code at which a test can make a process die, stop or fail: nothing happens there otherwise.

`NVISY_FAULT_POINTS` names a function, `module:function`, that is called with the point and the stage of the process
whenever one is reached; `tests/faults` has it. Without the variable a point costs a function call. The module imports
nothing of ours, so every layer may have points.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from enum import IntEnum, unique
from typing import Final

VARIABLE: Final = "NVISY_FAULT_POINTS"


@unique
class Point(IntEnum):
    """A place. Numbers stay what they are: a failure that is reported with one can be looked for later."""

    CLAIMED = 1
    """The run holds the graph, and has done nothing with it."""
    TOPICS_MADE = 2
    """Every topic is there, no stage runs."""
    STAGE_GOES = 3
    """The supervisor tells the stages to go."""
    STAGE_THROUGH = 4
    """The supervisor knows that a stage is through, those behind it do not."""
    LEASE_RENEW = 5
    """The run is about to renew its lease on Kafka."""
    RELEASE = 6
    """The run is about to give the graph free."""

    STAGE_STARTED = 10
    """The process of a stage knows what it is to do."""
    SEAT_TAKEN = 11
    """The one who had the seat before is fenced; the positions have not been read."""
    SEATED = 12
    """The positions are known; nothing was read."""
    SINK_OPENED = 13
    """The writer of a sink has put its token there."""

    LISTED = 20
    """A listing gave some changes, which nobody else knows of."""
    DELETE_FOUND = 21
    """A listing is through, and a delete is about to be passed on."""
    READ = 22
    """Records came from a topic, as bytes."""
    DECODED = 23
    """Changes are about to enter the dataflow."""
    SLOT_MADE = 24
    """A database keeps its log for us, and no position says so."""
    FIRST_READ = 25
    """Rows of a first reading came from a database."""
    HANDED_OVER = 26
    """A first reading is through, and nothing came from the stream."""
    STREAMED = 27
    """Changes came from the stream of a database."""
    CONFIRM = 28
    """A database is about to be told what it may forget."""

    MODEL_CALL = 30
    """A model is about to be asked."""
    MODEL_ANSWERED = 31
    """A model answered; the answer is in memory only."""
    MODEL_KEPT = 32
    """The answer is in the cache; the change it belongs to is not."""
    STEP_DONE = 33
    """A step that computes for a whole batch did so."""

    GATHERED = 40
    """The writing thread has taken changes that are finished."""
    WRITTEN = 41
    """An outlet took them; nothing is acknowledged."""
    DEAD_LETTER = 42
    """The entries of those that failed are about to be appended."""
    COMMIT = 43
    """The positions are about to be committed."""
    COMMITTED = 44
    """They are; what is noted on this machine does not say so yet."""
    KNOWN_NOTE = 45
    """The keys that are known are about to be noted."""
    KNOWN_NOTED = 46
    """They are; the group they belong to is not known as a whole."""

    APPEND = 50
    """Records are about to be handed to the log."""
    APPENDED = 51
    """The log has them, uncommitted."""
    LOG_OPEN = 52
    """The transaction of the log has begun and holds its fence."""
    LOG_BESIDE = 53
    """Other topics than the home of the stage are committed, the home is not (embedded log)."""
    LOG_COMMIT = 54
    """Everything is in the transaction."""
    COMPACTING = 55
    """Records that later ones have replaced are deleted, uncommitted (embedded log)."""
    COMPACTED = 56
    """They are gone, and others are still to go (embedded log)."""

    SINK_CALL = 60
    """A batch is about to go to a sink."""
    SINK_PLANNED = 61
    """Its heads were read, what to do is decided."""
    SINK_RECORDS = 62
    """Its records are written, in a transaction where the store has them."""
    SINK_HEADS = 63
    """Its heads are written, likewise."""
    SINK_ANSWERED = 64
    """The store has confirmed everything; the position is not committed."""

    LANE_NOTED = 70
    """A rebuild has noted what it makes, and made nothing."""
    LANE_FILLED = 71
    """The new generation holds what the log said when its stages began."""
    LANE_VERIFIED = 72
    """It was found to hold what it should; readers see the former one."""
    SWAP_NOTED = 73
    """Whoever owns the graph next lets readers see the new one."""
    SERVED = 74
    """One sink does; the others, and what is noted, say nothing of it."""
    DROP_NOTED = 75
    """A generation is about to be dropped."""
    DROPPED = 76
    """One of its collections is gone."""


Reached = Callable[[Point, str], None]
"""`(point, stage)`; the stage is empty in the process of a run."""


def _named(name: str) -> Reached | None:
    """The function that a test named, or None."""
    if not name:
        return None
    module, _, function = name.partition(":")
    reached: Reached = getattr(importlib.import_module(module), function)
    return reached


_reached = _named(os.environ.get(VARIABLE, ""))
_stage = ""


def enter(stage: str) -> None:
    """This process runs `stage`."""
    global _stage  # noqa: PLW0603 - a process runs one stage
    _stage = stage


def reach(point: Point) -> None:
    """Say that `point` has been reached. Does nothing unless a test asked for it."""
    if _reached is not None:
        _reached(point, _stage)
