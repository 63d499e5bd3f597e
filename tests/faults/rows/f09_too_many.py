"""F9: the model, or the sink, answers 429 to some of its calls and says how long it wants to be left alone."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.faults.cell import Cell
from tests.faults.http_proxy import Fault, HttpProxy
from tests.faults.matrix import CHAIN, Row
from tests.faults.refusing import in_front

SHARE = 0.3
PAUSE_S = 2.0
FOR_S = 40.0
QUICK_FOR_S = 12.0
UNDER_WAY_S = 0.1
"""A call that comes so soon after a refusal was made before anybody could know of it."""
GOODPUT = 0.9


class Seen(NamedTuple):
    """A call as the server saw it: when, in monotonic seconds, and what it answered."""

    at: float
    status: int


def play(cell: Cell) -> None:
    """Nobody calls in the time asked for, and somebody does right after it; nothing is a dead letter."""
    proxy = in_front(cell)
    embed = next(node for node in cell.graph["nodes"] if node["id"] == "embed")
    embed["params"]["batchSize"] = 2  # many calls, several side by side
    cell.source.fill(24)
    cell.start()
    cell.rest()
    with cell.saying("the model"):
        _model(cell)
    if proxy is not None:
        with cell.saying("the sink"):
            _sink(cell, proxy)
    cell.expect(cell.running.poll() is None, f"the run ended with exit code {cell.running.poll()}")
    cell.stop()
    cell.finish()


def _model(cell: Cell) -> None:
    before = len(cell.model.calls)
    cell.model.retry_after = f"{PAUSE_S:g}"
    cell.model.faults = {"rate_limited": SHARE}
    _under_load(cell, lambda: setattr(cell.model, "faults", {}))
    _judge(cell, "model", (Seen(call.at, call.status) for call in cell.model.calls[before:]))


def _sink(cell: Cell, proxy: HttpProxy) -> None:
    drawn = random.Random(f"{cell.setting.seed}/{cell.setting}")
    before = len(proxy.calls)
    refusal = Fault(status=429, headers={"retry-after": f"{PAUSE_S:g}"})
    proxy.script = lambda _method, _path, _body: refusal if drawn.random() < SHARE else None
    _under_load(cell, lambda: setattr(proxy, "script", lambda _method, _path, _body: None))
    _judge(cell, "sink", (Seen(call.at, call.status) for call in proxy.calls[before:]))


def _under_load(cell: Cell, relent: Callable[[], None]) -> None:
    """Edits all the time, so that there is always something to call for."""
    until = time.monotonic() + (QUICK_FOR_S if cell.setting.quick else FOR_S)
    while time.monotonic() < until:
        cell.source.edit()
        time.sleep(0.3)
    relent()
    cell.rest(time.monotonic())


def _judge(cell: Cell, whom: str, calls: Iterable[Seen]) -> None:
    """Time that went by between the end of a pause and the next call is time lost."""
    seen = sorted(calls)
    early = lost_s = 0.0
    refusals = [call for call in seen if call.status == 429]
    for refusal in refusals:
        free = refusal.at + PAUSE_S
        early += sum(refusal.at + UNDER_WAY_S * cell.slowness < call.at < free for call in seen)
        following = next((call.at for call in seen if call.at >= free), free)
        if not any(other.at < free < other.at + PAUSE_S for other in refusals if other is not refusal):
            lost_s += following - free
    took_s = seen[-1].at - seen[0].at
    goodput = 1 - lost_s / took_s
    cell.tally.runs += len(refusals)
    cell.expect(not early, f"{early:.0f} calls to the {whom} in the {PAUSE_S:g} s that it had asked for")
    cell.expect(goodput >= GOODPUT, f"{goodput:.0%} of what the {whom} allows, less than {GOODPUT:.0%}")
    cell.note(f"{whom}: {len(refusals)} refusals of {len(seen)} calls, {goodput:.0%} of the rate allowed")


ROW = Row(
    "F9",
    "429 with Retry-After from the model and the sink",
    play,
    where=CHAIN,
    quick=[("chain", "embedded", "qdrant")],
    dup=0,
    ttr_s=30.0,
)
