"""From where topics are replayed: their beginning, an offset, or a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from nvisy.errors import Refused, UsageError
from nvisy.plan.generations import Change, Layout, Starts
from nvisy.topics.log import Log, TopicInfo


@dataclass(frozen=True, slots=True)
class Start:
    """A place in topics.

    Attributes:
        offset: In each partition; None where it is a time, or the beginning.
        time_ms: The first record of each partition that is not older; UTC. None where it is no time.
    """

    offset: int | None = None
    time_ms: int | None = None

    @property
    def is_beginning(self) -> bool:
        """Everything is replayed."""
        return self.offset is None and self.time_ms is None

    @classmethod
    def parse(cls, text: str) -> Start:
        """The place in words: `beginning`, a number, or ISO 8601 (UTC where it names no zone).

        Raises:
            UsageError: It is none of these.
        """
        if text == "beginning":
            return cls()
        if text.isdecimal():
            return cls(offset=int(text))
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"{text!r} is no place to replay from: write beginning, an offset such as 1200, or a time such as"
                " 2026-01-31T09:00:00Z"
            ) from None
        zoned = at if at.tzinfo else at.replace(tzinfo=UTC)
        return cls(time_ms=int(zoned.timestamp() * 1000))


def starts_of(log: Log, layout: Layout, change: Change, place: Start) -> Starts:
    """Where the topics that are replayed begin then, as the log names them; those from their beginning are left out.

    Raises:
        Refused: A topic is not there, or begins behind that place by now.
    """
    starts: dict[str, dict[int, int]] = {}
    for topic in change.replays:
        info = log.describe(layout.topic(topic))
        if info is None:
            raise Refused(f"there is no topic {layout.topic(topic)!r} to replay: run the graph first")
        if not place.is_beginning:
            starts[info.name] = _starts(log, info, place)
    return starts


def _starts(log: Log, info: TopicInfo, place: Start) -> dict[int, int]:
    if place.offset is not None:
        late = [first for first in info.start.values() if first > place.offset]
        if late:
            raise Refused(
                f"what stood at offset {place.offset} of {info.name} has expired: it begins at {min(late)} by now; say"
                f" --from {max(late)}, or a time"
            )
        return {partition: min(place.offset, end) for partition, end in info.end.items()}
    assert place.time_ms is not None
    starts, seen = dict(info.end), set()
    for record in log.scan(info.name):
        is_first = record.partition not in seen
        seen.add(record.partition)
        if record.timestamp_ms < place.time_ms:
            continue
        if is_first and info.start[record.partition]:
            raise Refused(
                f"what was written to {info.name} at that time may have expired: partition {record.partition} begins"
                f" with {datetime.fromtimestamp(record.timestamp_ms / 1000, UTC).isoformat()} by now; say --from with a"
                " later time, or an offset"
            )
        starts[record.partition] = min(starts[record.partition], record.offset)
    return starts
