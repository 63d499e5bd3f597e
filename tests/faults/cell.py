"""One cell of the matrix: a pipeline on one log and one store, its source, and the oracle that watches it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from nvisy.testing.model_server import ModelServer
from tests.faults.graphs import STEPS, graph
from tests.faults.logs import EmbeddedTopics, KafkaTopics, Topics, falls, letters
from tests.faults.oracle import DIMENSIONS, SINKS, Oracle, compare
from tests.faults.runs import Runs, Setting
from tests.faults.servers import Servers
from tests.faults.source import Source
from tests.faults.stores import PostgresStore, QdrantStore, SqliteStore, Store, held
from tests.faults.tally import CellFailed

REST_S = 60.0
"""Longest wait for everything to be as the oracle says; a row's bar on the time is its own."""


class Cell(Runs):
    """A pipeline under test. Rows edit `source`, give `orders`, start and end the run, and wait for `rest`."""

    rest_s = REST_S
    """How long `rest` waits where a row does not say."""

    def __init__(self, setting: Setting, row: str, servers: Servers, folder: Path, name: str) -> None:
        """Nothing runs yet, and no document is there.

        Args:
            setting: Which cell.
            row: Id of the row.
            servers: What is shared with other cells.
            folder: A folder of its own.
            name: A name that no other cell has, fit for a graph.
        """
        super().__init__(setting, servers, folder)
        self.row = row
        self.name = name
        self.oracle = Oracle(setting.shape)
        self.source = Source(folder / "docs", self.oracle, f"{setting.seed}/{row}/{setting}")
        self.model = ModelServer(dimensions=DIMENSIONS)
        self.model.__enter__()
        self.closing(lambda: self.model.__exit__(None, None, None))
        self.store: Store = self._store()
        self.closing(self.store.close)
        self.topics: Topics = self._topics()
        self.closing(self.topics.close)
        self.graph: dict[str, Any] = graph(setting.shape, name, self.store.sink(), self.model.url)
        (folder / "steps.py").write_text(STEPS)

    def reach_store_at(self, address: str) -> None:
        """Sinks are told this address; before the first run."""
        self.store.seen_as = address
        self.graph = graph(self.setting.shape, self.name, self.store.sink(), self.model.url)

    def rest(self, since: float | None = None, *, timeout_s: float | None = None) -> float:
        """Wait until sinks and dead letters are as the oracle says.

        Returns the seconds since `since` (a fault's `at`; default: now), which count for TTR where it is given. If
        it does not come about, what is wrong is counted, and the cell ends.
        """
        began = time.monotonic() if since is None else since
        until = time.monotonic() + (self.rest_s if timeout_s is None else timeout_s) * self.slowness
        while wrong := self._wrong():
            if time.monotonic() > until:
                self._count(wrong)
                raise CellFailed
            time.sleep(0.03)
        self.oracle.settle()
        took_s = max(0.0, time.monotonic() - began)
        if since is not None:
            self.tally.ttr_s = max(self.tally.ttr_s, took_s)
        return took_s

    def rest_or_taken(self, timeout_s: float = REST_S) -> dict[str, Any] | None:
        """The order that was carried out, or None once everything is as the oracle says and it was not."""
        until = time.monotonic() + timeout_s * self.slowness
        while (taken := self.orders.taken) is None and time.monotonic() < until and self._wrong():
            time.sleep(0.03)
        return taken or self.orders.taken

    def rests_within(self, timeout_s: float) -> bool:
        """Whether everything comes to be as the oracle says while the run lasts; if not, nothing is counted."""
        until = time.monotonic() + timeout_s * self.slowness
        while self._wrong():
            if time.monotonic() > until or self.running.poll() is not None:
                return False
            time.sleep(0.05)
        self.oracle.settle()
        return True

    def judge(self) -> None:
        """Now, without waiting, everything has to be as the oracle says."""
        if wrong := self._wrong():
            self._count(wrong)
            raise CellFailed
        self.oracle.settle()

    def finish(self, *, repeats: bool = False) -> None:
        """The last word: run to the end, compare, run again: it must find nothing to do. Counts DUP.

        In every topic the versions of a key must not have fallen; where a stage has been made to read its input again
        (`repeats`), the last one has to be the highest.
        """
        self.run()
        self.judge()
        again = self.run()
        idle = {name: again[name] for name in ("written", "removed", "model_calls") if again[name]}
        self.expect(not idle, f"a second run found something to do: {idle}")
        self.judge()
        fallen = falls(self.topics, self.folder.glob("*/schemas/ids/*.avsc"), repeats=repeats)
        self.expect(not fallen, f"versions fell in topics: {fallen[:3]}")
        self.count_dup()

    def count_dup(self) -> None:
        """Texts that the model was asked for more than once so far."""
        asked = Counter((c.fields["model"], t) for c in self.model.calls if c.status == 200 for t in c.texts)
        self.tally.dup = asked.total() - len(asked)
        again = [c for c in self.model.calls if any(asked[c.fields["model"], t] > 1 for t in c.texts)]
        self.tally.asked_again = ", ".join(
            f"{c.at:.3f} s: {len(c.texts)} texts, {c.status}" for c in again[:6]
        )

    def _wrong(self) -> tuple[list[str], list[str], list[str]] | None:
        """What is missing, what is too much, what is silent."""
        lost: list[str] = []
        extra: list[str] = []
        for sink in SINKS[self.setting.shape]:
            difference = compare(self.oracle, sink, held(self.store, sink))
            lost += difference.lost
            extra += difference.extra
        if lost or extra:
            return lost, extra, []
        wanted, is_open = self.oracle.letters(), letters(self.topics, self.name)
        silent = [f"{key}: no dead letter" for key in sorted(wanted - is_open)]
        extra = [f"{key}: a dead letter that should be closed" for key in sorted(is_open - wanted)]
        return ([], extra, silent) if extra or silent else None

    def _count(self, wrong: tuple[list[str], list[str], list[str]]) -> None:
        lost, extra, silent = wrong
        self.tally.lost += len(lost)
        self.tally.extra += len(extra)
        self.tally.silent += len(silent)
        code = self.process.poll() if self.process else None
        self.expect(
            right=False,
            otherwise=f"not as the oracle says: lost {lost[:3]}, extra {extra[:3]}, silent {silent[:3]};"
            f" exit code of the run: {code}; it said: {self.said()}",
        )

    def _store(self) -> Store:
        match self.setting.store:
            case "sqlite":
                return SqliteStore(self.folder / "index.db")
            case "pgvector":
                dsn = self.servers.postgres.create_database()
                self.closing(lambda: self.servers.postgres.drop_database(dsn))
                return PostgresStore(dsn)
            case _:
                server = self.servers.qdrant()
                self.closing(server.close)
                return QdrantStore(server.url)

    def _topics(self) -> Topics:
        if self.setting.log == "kafka":
            return KafkaTopics(self.servers.kafka.bootstrap, self.name)
        return EmbeddedTopics(self.state / "log", self.name)
