"""F6: records of a foreign topic are deleted before they were read; the topic is made anew."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from tests.faults.cell import Cell
from tests.faults.feeds import Feed, KafkaTopic
from tests.faults.matrix import CHAIN, Row

GAP = 6
SAID_WITHIN_S = 5.0
QUIET_S = 1.0
"""Longer than a broker lets a reader wait for records: what comes after that has not been sent to it."""


def play(cell: Cell) -> None:
    """Each time the run ends and says so, so does the next one, and one that adopts ends where the topic is."""
    feed = Feed(cell, partitions=2)
    feed.fill(20)
    cell.start()
    cell.rest()
    harms: dict[str, Callable[[], None]] = {
        "made anew with fewer records": lambda: feed.made_anew(2, 1, feed.names()[::3]),
        "made anew with more records": lambda: feed.made_anew(2, 12, feed.names()[:6]),
    }
    if isinstance(feed.log, KafkaTopic):
        harms = {"expired": lambda: _expire(feed), **harms}
    for what, harm in harms.items():
        for live in (True, False) if not cell.setting.quick else (False,):
            if cell.setting.only in ("", what.replace(" ", "_")):
                with cell.saying(f"{what}, {'while it is read' if live else 'between runs'}"):
                    _lose(cell, feed, harm, live=live)
    cell.stop()
    cell.finish()


def _lose(cell: Cell, feed: Feed, harm: Callable[[], None], *, live: bool) -> None:
    feed.mend()
    cell.rest()
    cell.tally.runs += 1
    if live:
        _harm_a_reader(cell, harm)
    else:
        cell.stop()
        harm()
    code = cell.ended(cell.spawn("--follow"), 60)
    cell.expect(code == GAP and "--adopt" in cell.said(), f"the next run: exit code {code}: {cell.said()}")
    cell.run("--adopt")
    cell.judge()
    cell.start()
    feed.fill(20)
    feed.edit()
    cell.rest()


def _harm_a_reader(cell: Cell, harm: Callable[[], None]) -> None:
    """It is paused meanwhile, so that nothing of what is lost has reached it."""
    reader = cell.orders.pid_of("split")
    os.kill(reader, signal.SIGSTOP)
    try:
        time.sleep(QUIET_S)
        harm()
    finally:
        os.kill(reader, signal.SIGCONT)
    began = time.monotonic()
    code = cell.ended(cell.running, 60)
    took_s = time.monotonic() - began
    cell.expect(code == GAP, f"exit code {code}: {cell.said()}")
    cell.expect(took_s <= SAID_WITHIN_S * cell.slowness, f"{took_s:.1f} s until the run ended")
    cell.note(f"noticed by a reader within {took_s:.1f} s")


def _expire(feed: Feed) -> None:
    """Updates, a delete and a new document that nobody can ever know of."""
    first, second, third = feed.names()[:3]
    feed.unseen(first, "never seen")
    feed.unseen(second, None)
    feed.unseen(third, "nor this")
    feed.unseen("never.txt", "nor that one")
    assert isinstance(feed.log, KafkaTopic)
    feed.log.expire()


ROW = Row("F6", "records expired before they were read; the topic made anew", play, where=CHAIN)
