"""The process of one stage as its supervisor sees it: how it is started, told what to do, heard, and ended."""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from nvisy.plan.model import Stage
from nvisy.runtime.counters import StageCounters
from nvisy.runtime.fork_server import STAGES, ForkedProcess
from nvisy.runtime.messages import StageSpec, parse
from nvisy.runtime.rerunning import Again
from nvisy.runtime.watchdog import Watchdog
from nvisy.topics.log import Seat, TopicPartition

_log = logging.getLogger(__name__)

Status = Literal["starting", "ready", "running", "done", "failed"]


@dataclass
class StageView:
    """What is known of a stage while it runs; what progress displays read."""

    stage: Stage
    status: Status = "starting"
    counters: StageCounters = field(default_factory=StageCounters)
    lag: int | None = None
    committed: Mapping[TopicPartition, int] = field(default_factory=dict)
    in_flight: int = 0
    waiting: str = ""
    error: str = ""
    lives: int = 1
    seat: Seat | None = None


class StageProcess:
    """A stage process and the counters of its lives.

    Attributes:
        deaths: How many processes died since one brought something forward.
        name: Of the stage, and which copy of it this is.
        read: Partitions that it read to their ends.
        again: It said that it has only to be started again.
        deals: How often that was since it brought something forward.
        handed: Sweeps that it was told to carry out while it runs on.
        asked: Ids of the requests that this process was told of.
        killers: How many processes died after they were told of a request.
        hung: How it hung, once it was ended for that.
    """

    def __init__(
        self,
        name: str,
        stage: Stage,
        spec: StageSpec,
        events: queue.SimpleQueue[tuple[str, int, dict[str, Any]]],
    ) -> None:
        self.name = name
        self.view = StageView(stage)
        self._spec = spec
        self._events = events
        self._earlier = StageCounters()
        self.ends: list[tuple[str, int, int]] | None = None
        self.sweep: Mapping[str, int] = {}
        self.handed: Mapping[str, int] = {}
        self.behind = 0
        self.error: tuple[str, int] | None = None
        self.through = False
        self.read: set[tuple[str, int]] = set()
        self.again = False
        self.deals = 0
        self.life = 0
        self.worked = False
        self.outages = 0
        self.deaths = 0
        self.asked: list[str] = []
        self.killers: Counter[str] = Counter()
        self.hung = ""
        self.watchdog = Watchdog(spec.hang_s)
        self.due: float | None = None
        self.process = self._spawn("")

    def _spawn(self, died_of: str) -> ForkedProcess:
        process = STAGES.start()
        self.life += 1
        self._listener = threading.Thread(target=self._listen, args=(process, self.life), daemon=True)
        self._listener.start()
        self.process = process
        self.send(replace(self._spec, life=self.life, died_of=died_of).to_json())
        return process

    def _listen(self, process: ForkedProcess, life: int) -> None:
        with process.stdout:
            for raw in process.stdout:
                self._events.put((self.name, life, parse(raw)))
        process.wait()
        self._events.put((self.name, life, {"kind": "exit", "code": process.returncode}))

    def send(self, message: bytes) -> None:
        """Tell the process; if it is gone, its exit says so."""
        try:
            self.process.stdin.write(message)
            self.process.stdin.flush()
        except BrokenPipeError:
            _log.debug("stage %s: its process is gone", self.view.stage.id)

    def counted(self, value: dict[str, Any]) -> None:
        """New counters of this life."""
        total = StageCounters()
        total.add(self._earlier)
        total.add(StageCounters.from_json(value))
        self.view.counters = total

    def seated(self) -> None:
        """It has noted where it reads from: what dies after that, and is started again, goes on there."""
        again = self._spec.again
        if again is not None and Again.from_json(again).is_everything:
            self._spec = replace(self._spec, again=None)

    def restart(self, died_of: str = "") -> None:
        """Start the stage again where it stopped; it is told what ended it, where that was no end of its own."""
        self._close_orders()
        self._earlier = self.view.counters
        self.view.lives += 1
        self.view.status = "starting"
        self.error = None
        self.again = False
        self.through = False
        self.due = None
        self.worked = False
        self.hung = ""
        self.asked = []
        self.watchdog.start()
        self.process = self._spawn(died_of)

    def watch(self) -> None:
        """End the process where it hangs."""
        if self.view.status == "running" and not self.hung and self.watchdog.has_barked():
            self.hung = f"nothing moved for {self._spec.hang_s:.0f} s"
            self.process.kill()

    def end(self) -> None:
        """Make sure that the process is gone."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._listener.join()
        self._close_orders()

    def _close_orders(self) -> None:
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            _log.debug("stage %s: its pipe was closed", self.view.stage.id)
