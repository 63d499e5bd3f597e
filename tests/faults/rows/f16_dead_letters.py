"""F16: the topic of the dead letters takes no records."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.faults.cell import Cell
from tests.faults.matrix import CHAIN, SMALLEST, Row
from tests.faults.oracle import BAD
from tests.faults.stores import held

STILL_S = 5.0
SAYS_S = 40.0
"""A log that is locked is given ten seconds by itself before anybody says so."""
UNREACHABLE = 3
LARGEST_BYTES = 16 << 20
MARKER_BYTES = 120
"""The end of a transaction fits in, a dead letter does not."""


def play(cell: Cell) -> None:
    """Followed, the run waits, says why, and goes on by itself. Bounded, it ends and says so; the next one goes on."""
    cell.source.fill(24)
    cell.start()
    cell.rest()
    cell.tally.runs += 1
    topic = f"{cell.name}.dlq"
    with _blocked(cell, topic):
        _spoil(cell)
        said = _said_by_status(cell, topic)
        cell.expect(bool(said), f"status did not say that {topic} takes nothing; the run said: {cell.said()}")
        _halted(cell, "later.txt")
        cell.expect(cell.running.poll() is None, f"the run ended with {cell.running.poll()}: {cell.said()}")
    cell.rest(time.monotonic())
    cell.stop()
    cell.tally.runs += 1
    with _blocked(cell, topic):
        _spoil(cell)
        code = cell.ended(cell.spawn(), 90)
        cell.expect(
            code == UNREACHABLE and topic in cell.said(),
            f"a bounded run: exit code {code}: {cell.said()}",
        )
    cell.finish()


def _spoil(cell: Cell) -> None:
    """Documents that fail among others that do not, each of them with a version before it."""
    for number, name in enumerate(cell.source.names()[:8]):
        text = cell.source.document(2)
        cell.source.write(name, f"{BAD} {text}" if number % 2 else text)


def _halted(cell: Cell, name: str) -> None:
    """What comes after a failure that cannot be noted does not overtake it."""
    cell.source.write(name, cell.source.document(2))
    time.sleep(STILL_S)
    cell.expect(
        name not in held(cell.store, "index"), "documents went on past one that failed and was not noted"
    )


def _said_by_status(cell: Cell, topic: str) -> str:
    """What `nvisy status` says is waited for, once that names the topic."""
    until = time.monotonic() + SAYS_S * cell.slowness
    while time.monotonic() < until:
        command = [sys.executable, "-m", "nvisy", "status", "graph.json", "--json"]
        told = subprocess.run(command, cwd=cell.folder, env=cell.environ, capture_output=True, check=False)
        if told.returncode == 0:
            for stage in json.loads(told.stdout)["stages"]:
                if topic in (said := f"{stage['waiting']} {stage['last_error']}"):
                    return said
        time.sleep(0.5)
    return ""


@contextmanager
def _blocked(cell: Cell, topic: str) -> Iterator[None]:
    """Nobody can write to the topic: the broker takes nothing as large as a dead letter; the file is locked."""
    if cell.setting.log == "embedded":
        path = cell.state / "log" / "topics" / f"{topic}.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")
        return
    _largest(cell, topic, MARKER_BYTES)
    try:
        yield
    finally:
        _largest(cell, topic, LARGEST_BYTES)


def _largest(cell: Cell, topic: str, size_bytes: int) -> None:
    from confluent_kafka.admin import (
        AdminClient,
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
        ResourceType,
    )

    wanted = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[wanted])
    admin = AdminClient({"bootstrap.servers": cell.servers.kafka.bootstrap, "log_level": 0})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(10)


ROW = Row("F16", "the topic of the dead letters takes nothing", play, where=CHAIN, quick=(SMALLEST,))
