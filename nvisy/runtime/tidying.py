"""Keeps the topics of a graph from growing with every version, in a log that does not see to that by itself."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from nvisy.errors import NvisyError
from nvisy.plan.model import Plan
from nvisy.runtime import dead_letters
from nvisy.runtime.requests import requests_topic
from nvisy.runtime.run_history import KEPT_DAYS, KEPT_EVENTS, runs_topic
from nvisy.runtime.settings import Settings
from nvisy.topics.log import Log

EVERY_S = 30.0

_log = logging.getLogger(__name__)


class TidyingThread:
    """Runs beside the stages, with a log of its own, from when the graph is claimed to before it is released."""

    def __init__(self, settings: Settings, plan: Plan, is_wanted: Callable[[], bool]) -> None:
        """Compact the topics of a plan where that pays, now and then, until it is not wanted any more."""
        self._settings = settings
        self._graph = plan.graph
        self._topics = [
            *(topic.name for topic in plan.topics),
            dead_letters.topic_of(plan.graph),
            requests_topic(plan.graph),
        ]
        self._may_go_on = is_wanted
        self._ended = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="tidying", daemon=True)

    def start(self) -> None:
        """Start the thread; there is nothing to do for one where brokers keep the log."""
        if self._settings.log_url is None:
            self._thread.start()

    def finish(self, *, failed: bool) -> None:
        """The run is over: leave the topics tidy, which may take a while, or as they are where it failed."""
        self._failed = failed
        self._ended.set()
        if self._thread.ident:
            self._thread.join()

    def _is_wanted(self) -> bool:
        return not self._failed and self._may_go_on()

    def _run(self) -> None:
        log = self._settings.open_log()
        try:
            self._expire(log)
            while self._is_wanted():
                is_last = self._ended.is_set()
                for topic in self._topics:
                    self._tidy(log, topic)
                if is_last:
                    return
                self._ended.wait(EVERY_S)
        finally:
            log.close()

    def _expire(self, log: Log) -> None:
        before_ms = time.time_ns() // 1_000_000 - KEPT_DAYS * 86_400_000
        try:
            log.expire(runs_topic(self._graph), before_ms, KEPT_EVENTS)
        except NvisyError as error:
            _log.warning(
                "topic %s could not be shortened, and stays as it is: %s", runs_topic(self._graph), error
            )

    def _tidy(self, log: Log, topic: str) -> None:
        try:
            n_gone = log.tidy(topic, self._is_wanted)
        except NvisyError as error:
            _log.warning("topic %s could not be compacted, and stays as it is: %s", topic, error)
        else:
            if n_gone:
                _log.debug("topic %s: %d records went that later ones have replaced", topic, n_gone)
