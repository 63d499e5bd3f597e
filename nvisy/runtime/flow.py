"""From a stage to the Bytewax dataflow that runs it: one operator per node, a batch at a time.

Bytewax is used without its recovery, its cluster mode and its connectors: the log and the stores hold all state, and
the threads on either side of the dataflow, and those of its windows, do all waiting, so that no callback ever blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import DynamicSource, StatelessSourcePartition
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import run_main

from nvisy.plan.model import Stage
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.flight import Flight
from nvisy.runtime.reading import ReadingThread
from nvisy.runtime.steps import JoinStep, RouteStep, Step, port_of
from nvisy.runtime.window import Window
from nvisy.runtime.writing import WritingThread

TAKE_S = 0.005
T = TypeVar("T")


class _Input(StatelessSourcePartition[Flight]):
    """Hands the dataflow what `take` gives; ends when it gives nothing and everything is `through`."""

    def __init__(self, take: Callable[[], Sequence[Flight]], through: Callable[[], bool]) -> None:
        self._take = take
        self._through = through

    def next_batch(self) -> Sequence[Flight]:
        batch = self._take()
        if not batch and self._through():
            raise StopIteration
        return batch

    def next_awake(self) -> datetime | None:
        return None


class _Output(StatelessSinkPartition[Flight]):
    """Hands over what has come here."""

    def __init__(self, hand_over: Callable[[list[Flight]], None]) -> None:
        self._hand_over = hand_over

    def write_batch(self, items: list[Flight]) -> None:
        self._hand_over(items)


class _Source(DynamicSource[Flight]):
    def __init__(self, take: Callable[[], Sequence[Flight]], through: Callable[[], bool]) -> None:
        self._partition = _Input(take, through)

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Input:
        return self._partition


class _Sink(DynamicSink[Flight]):
    def __init__(self, hand_over: Callable[[list[Flight]], None]) -> None:
        self._partition = _Output(hand_over)

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Output:
        return self._partition


class Trap:
    """Keeps the first thing that a callback raised, and makes the dataflow run dry.

    The engine would print a panic of its own to stderr before it passed the exception on.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def around(self, function: Callable[..., T], otherwise: T) -> Callable[..., T]:
        """`function`, or `otherwise` once something was raised."""

        def guarded(*args: Any) -> T:
            if self.error is None:
                try:
                    return function(*args)
                except BaseException as error:
                    self.error = error
            return otherwise

        return guarded


class Flow:
    """A dataflow that is ready to run."""

    def __init__(self, dataflow: Dataflow, trap: Trap) -> None:
        self._dataflow = dataflow
        self._trap = trap

    def run(self) -> None:
        """Run in this thread until the input ends, or raise what a callback raised."""
        run_main(self._dataflow)  # type: ignore[no-untyped-call]
        if self._trap.error is not None:
            raise self._trap.error


def build_flow(
    stage: Stage,
    steps: Mapping[str, Step | RouteStep | Window],
    reading: ReadingThread,
    writing: WritingThread,
    counters: StageCounters,
) -> Flow:
    """The dataflow of a stage. `steps` has one step per action and branch; fan-outs and fan-ins need none."""
    trap = Trap()
    windows = [step for step in steps.values() if isinstance(step, Window)]

    def through() -> bool:
        # A flight inside a window has been acknowledged by nobody, so the writing is idle only when windows are empty.
        return reading.ended and (writing.idle or any(window.abandoned for window in windows))

    def read() -> Sequence[Flight]:
        writing.raise_error()
        return reading.take(TAKE_S)

    flow = Dataflow(stage.id.replace(".", "-"))  # of another generation than the first
    ended = trap.around(through, True)
    entry = op.input("read", flow, _Source(trap.around(read, ()), ended))
    ports: dict[tuple[str, str], Stream[Any]] = {}
    for inlet in stage.inlets:
        ports[inlet.name, ""] = (
            entry
            if len(stage.inlets) == 1
            else op.flat_map_batch(_operator("from", inlet.name), entry, _only(inlet.name))
        )
    for node in stage.nodes:
        arriving = _arriving(stage, node, ports, counters, trap)
        step = steps.get(node)
        if isinstance(step, RouteStep):
            nothing: list[Any] = []
            routed: Stream[Any] = op.flat_map_batch(node, arriving, trap.around(step, nothing))
            for port in {wire.port for wire in stage.wires if wire.origin == node}:
                ports[node, port] = op.flat_map_batch(_operator(node, port), routed, port_of(port))
        elif isinstance(step, Window):
            op.output(_operator("into", node), arriving, _Sink(trap.around(step.put, None)))
            ports[node, ""] = op.input(node, flow, _Source(trap.around(step.take, []), ended))
        elif step is None:
            ports[node, ""] = arriving
        else:
            ports[node, ""] = op.flat_map_batch(node, arriving, trap.around(step, []))
    for index, outlet in enumerate(stage.outlets):
        op.output(
            _operator("to", outlet.name),
            _arriving(stage, outlet.name, ports, counters, trap),
            _Sink(trap.around(partial(writing.hand_over, index), None)),
        )
    return Flow(flow, trap)


def terminals(stage: Stage) -> Mapping[str, int]:
    """By inlet: how many outlets a change from it reaches."""
    return {
        inlet.name: sum(inlet.name in stage.arity(outlet.name) for outlet in stage.outlets)
        for inlet in stage.inlets
    }


def _arriving(
    stage: Stage,
    name: str,
    ports: Mapping[tuple[str, str], Stream[Any]],
    counters: StageCounters,
    trap: Trap,
) -> Stream[Any]:
    """What arrives at a node or outlet: merged, and joined where one change comes over several ways."""
    streams = [ports[wire.origin, wire.port] for wire in stage.into(name)]
    if len(streams) == 1:
        return streams[0]
    merged = op.merge(_operator("merge", name), *streams)
    arity = stage.arity(name)
    if all(ways == 1 for ways in arity.values()):
        return merged
    join = JoinStep(arity, counters.node(name) if name in stage.nodes else None)
    return op.flat_map_batch(_operator("join", name), merged, trap.around(join, []))


def _operator(kind: str, name: str) -> str:
    """A name for an operator beside those of nodes. Topics have dots in their names, which operators may not."""
    return f"{kind}:{name.replace('.', ':')}"


def _only(inlet: str) -> Callable[[list[Flight]], list[Flight]]:
    def pick(flights: list[Flight]) -> list[Flight]:
        return [flight for flight in flights if flight.ticket.at.topic == inlet]

    return pick
