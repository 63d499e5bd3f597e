"""What a stage does at a log, in few words."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nvisy.topics.log import Append, Log, LogRecord, Seat, Session, TopicPartition
from nvisy.topics.open import open_log

PATIENCE_S = 90.0


class Place(NamedTuple):
    """Where a log is, as another process can be told."""

    url: str | None
    root: str

    def open(self) -> Log:
        return open_log(self.url, root=Path(self.root), environ={})


def writer(graph: str, *topics: str, stage: str = "write", slot: int = 0, slots: int = 2) -> Seat:
    return Seat(graph, stage, "c1", inputs=(), outputs=topics, slot=slot, slots=slots)


def reader(
    graph: str, *topics: str, stage: str = "read", config: str = "c1", outputs: tuple[str, ...] = ()
) -> Seat:
    return Seat(graph, stage, config, inputs=topics, outputs=outputs)


def records(topic: str, values: Iterable[int], partition: int = 0) -> list[Append]:
    """Records of as many keys as there are values, each value readable as a number."""
    return [Append(topic, partition, b"k%d" % value, b"%d" % value) for value in values]


def write(log: Log, seat: Seat, appends: Sequence[Append]) -> None:
    """Append and commit in a session of its own."""
    session = log.session(seat)
    session.append(appends)
    session.commit({})
    session.close()


def ends(log: Log, *topics: str) -> dict[TopicPartition, int]:
    found: dict[TopicPartition, int] = {}
    for topic in topics:
        info = log.describe(topic)
        assert info is not None
        found |= {TopicPartition(topic, partition): end for partition, end in info.end.items()}
    return found


def drain(log: Log, session: Session, *topics: str) -> list[LogRecord]:
    """Everything up to the ends as they are now."""
    target = ends(log, *topics)
    taken: list[LogRecord] = []
    until(lambda: taken.extend(session.poll(100, 0.05)) or session.caught_up(target))
    return taken


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"


def numbers(found: Iterable[LogRecord]) -> list[int]:
    return [int(record.value) for record in found if record.value is not None]


def after(found: Sequence[LogRecord]) -> dict[TopicPartition, int]:
    """The positions behind some records."""
    return {record.at: record.offset + 1 for record in found}
