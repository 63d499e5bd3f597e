"""The log: topics that keep every change, on Kafka or in files. One interface, one suite that judges both.

A stage of a graph takes one `Session`: its seat at the log. Through it the stage reads its input topics,
appends to its output topics and stores how far it has come, the last two in one commit. Opening the session
of a stage fences whoever held it before: a process that was paused and replaced can no longer append.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

Headers = tuple[tuple[str, bytes], ...]

MAX_RECORD_BYTES = 16 * 1024 * 1024 - 64 * 1024
"""Key, value and headers of one record together: what a broker's limit of 16 MiB leaves of it."""

ADOPT_HINT = "to send everything again and remove what that does not confirm, run with --adopt"
"""What to do about a topic that is not the one that was read."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class LogRecord(NamedTuple):
    """A record as it stands in a log. `value` is None for a tombstone; `timestamp_ms` is UTC."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int

    @property
    def at(self) -> TopicPartition:
        """The partition that it stands in."""
        return TopicPartition(self.topic, self.partition)


class Append(NamedTuple):
    """A record to be appended. The partition is ours to choose: one writer per partition."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class TopicInfo:
    """A topic.

    Attributes:
        name: Its name.
        id: Changes when the topic is deleted and made anew.
        partitions: How many.
        start: First offset still there, by partition.
        end: Offset after the last readable record, by partition (aborted and open transactions left out).
    """

    name: str
    id: str
    partitions: int
    start: Mapping[int, int]
    end: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Erased:
    """What became of the records that were to be erased from a topic.

    Attributes:
        gone: How many were removed.
        left: How many can still be read.
        until: Why, and which settings of the topic decide when they go; empty where none is left anywhere.
    """

    gone: int = 0
    left: int = 0
    until: str = ""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a stage asks of the log.

    Attributes:
        graph: Id of the graph.
        stage: Id of the stage.
        config: Hash of the stage's configuration: with another one than last time, its positions start over.
        inputs: Topics to read, or none for a stage that starts at a source.
        outputs: Topics it appends to, the dead letters apart.
        slot: Which of the copies of the stage this is, from 0.
        slots: How many copies there are. Where no broker deals out partitions, p is for copy p mod slots.
        shared: Other hosts may have further copies, which come and go.
    """

    graph: str
    stage: str
    config: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    slot: int = 0
    slots: int = 1
    shared: bool = False


class Session(Protocol):
    """A stage's seat. One thread may `poll` while another one appends and commits."""

    def positions(self) -> Mapping[TopicPartition, int]:
        """Committed offset of every input partition that is ours now; the topic's start if there is none."""

    def poll(
        self, limit: int, timeout_s: float, *, paused: bool = False, held: Collection[TopicPartition] = ()
    ) -> Sequence[LogRecord]:
        """Up to `limit` records after the last one polled, in offset order within a partition.

        Returns as soon as there is something, empty after `timeout_s` seconds. A paused poll returns nothing
        and keeps the membership alive. No more is fetched from partitions that are held; what was may still come.

        Raises:
            Refused: A position is no longer in the log (state `gap`), or a topic was made anew.
            DealtAnew: The log deals partitions anew; close the session, open another.
            Unreachable: The log does not answer; likewise.
        """

    def append(self, records: Sequence[Append]) -> None:
        """Hand over records for the next commit, due within seconds. Nobody reads them before it.

        Raises:
            Rejected: A record is larger than `MAX_RECORD_BYTES` or its topic's limit; none of them was taken.
            Refused: Another process has taken the seat, or a topic does not exist.
            Unreachable: The log does not answer; the session must be closed.
        """

    def commit(
        self, positions: Mapping[TopicPartition, int], state: Mapping[str, bytes | None] | None = None
    ) -> None:
        """Make what was appended, the positions (next offset to read) and the state durable, together.

        Raises:
            Refused: Another process has taken the seat; nothing was committed.
            Unreachable: The log does not answer; what happened is unknown, the session must be closed.
        """

    def state(self) -> Mapping[str, bytes]:
        """Everything this stage ever committed as `state`, the last value by name."""

    def caught_up(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Whether all below `ends` in our input partitions has been polled (gaps count as polled)."""

    def close(self) -> None:
        """Give the seat up; what was appended since the last commit is dropped. May be called twice."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the right to run a graph.

    Attributes:
        owner: `host:pid`.
        since_ms: Since when, UTC; None where a log does not say.
    """

    owner: str
    since_ms: int | None


class Claim(Protocol):
    """The right to run a graph, held by one run at a time; other hosts may have a share in it."""

    @property
    def token(self) -> int:
        """Higher than the token of every claim before it: what sinks are fenced with."""

    def remaining_s(self) -> float:
        """Seconds for which nobody else can hold the claim, on the monotonic clock; 0.0 once it is lost."""

    @property
    def lost_to(self) -> str:
        """Who took the claim from a holder that did not renew it in time, or empty."""

    @property
    def is_owner(self) -> bool:
        """Whether it is ours, or another host's that we have a share in: the owner does what must be done once."""

    @property
    def is_shared(self) -> bool:
        """Whether other hosts may have a share in it, now or later."""

    @property
    def is_over(self) -> bool:
        """Lost; or its owner, another host, gave it up or renews it no more."""

    @property
    def host(self) -> int:
        """Which of the hosts that run the graph together this is: no two that live have the same number."""

    def release(self) -> None:
        """Let another run have it, or give our share up. The claim of a process that died is released by itself."""


class Membership(Protocol):
    """A host's part in running a graph together with others: a share in one claim after the other."""

    def enter(self, is_wanted: Callable[[], bool]) -> Claim | None:
        """A share in the claim that is live, or the next claim where none is; None once it is not wanted any more.

        Release it before you enter again. The host keeps its number, unless it was away for too long.

        Raises:
            Refused: The owner runs another graph than ours, or is a run that nobody can join.
            Unreachable: The log does not answer, the first time; later it is waited for.
        """

    def leave(self) -> None:
        """Let another host have the number. May be called twice."""


class Log(Protocol):
    """A log. Connects when it is first used. Not to be shared between threads, apart from its sessions."""

    @property
    def id(self) -> str:
        """Names the log for good: a Kafka cluster's id, or the id an embedded log got when it was made."""

    @property
    def url(self) -> str:
        """How a person names it, without secrets: `kafka://localhost:9092`, `embedded:.nvisy/log`."""

    def create(
        self, topic: str, partitions: int, *, compacted: bool = True, kept_days: int | None = None
    ) -> TopicInfo:
        """Create a topic, or verify the one that is there.

        Messages up to 16 MiB. Compacted by key, and expired by age only with `kept_days` (see `expire`); not
        `compacted`, it keeps every record of a key, for as long as the log's own retention says.

        Raises:
            Refused: It has fewer or more partitions than asked for.
            Unreachable: The log does not answer.
        """

    def describe(self, topic: str, *, settled: bool = False) -> TopicInfo | None:
        """The topic as it is now, or None.

        With `settled`, everything that was committed before the call is below its ends, although a process that died
        may have left a transaction open before that; waits some seconds for it to be ended.

        Raises:
            Unreachable: It was not ended.
        """

    def topics(self) -> Sequence[str]:
        """Names of all topics, sorted, the log's internal ones left out."""

    def delete(self, topic: str) -> None:
        """Remove a topic and everything in it. A topic that is not there is fine."""

    def tidy(self, topic: str, is_wanted: Callable[[], bool]) -> int:
        """Compact a compacted topic where that pays, unless the log does so by itself; how many records went.

        Others write and read meanwhile. It may take a while, and ends soon once `is_wanted` says no.

        Raises:
            Unreachable: The log cannot be written.
        """

    def expire(self, topic: str, before_ms: int, most: int) -> int:
        """Remove what was written before a time, UTC, and what is not among the `most` last records of its partition.

        Brokers do that by themselves, as the topic was made. Returns how many records went.

        Raises:
            Unreachable: The log cannot be written.
        """

    def erase(self, topic: str, keys: Collection[bytes]) -> Erased:
        """Remove every record of these keys but the last of each, and see to it that no file holds them any more.

        Where brokers keep the log they remove the records, when the settings of the topic say so. Nobody may write to
        the topic meanwhile; those who read it need not know.

        Raises:
            Unreachable: The log cannot be written.
        """

    def session(self, seat: Seat, *, adopt: bool = False) -> Session:
        """Take a seat and fence whoever held it. Topics must exist.

        With `adopt`, a partition whose topic was made anew, or whose position is no longer in the log, is read from
        its beginning.

        Raises:
            Refused: A topic is missing; or, unless it is adopted, it was made anew, or a position is no longer in the
                log (`gap`).
            Unreachable: The log does not answer.
        """

    def scan(self, topic: str, start: Mapping[int, int] | None = None) -> Iterator[LogRecord]:
        """Every record from `start` (default: the beginning) to the end as it is now. Joins no group."""

    def read(self, topic: str, partition: int, offset: int) -> LogRecord | None:
        """The one record at that offset, or None where compaction removed it."""

    def claim(self, graph: str, owner: str, config: str = "") -> Claim:
        """Take the right to run `graph` as `owner` (`host:pid`). Who has the same `config` may join; nobody without.

        Raises:
            Refused: A live run holds it; the message names its owner.
        """

    def join(self, graph: str, owner: str, config: str) -> Membership:
        """Take part in running `graph` as `owner` (`host:pid`), whose hash is `config`.

        Raises:
            UsageError: Other hosts cannot reach this log.
        """

    def lag(self, seat: Seat) -> Mapping[TopicPartition, tuple[int, int]]:
        """(committed, end) offset of every input partition of a seat, without taking it."""

    def state(self, seat: Seat) -> Mapping[str, bytes]:
        """What a stage committed as `state`, the last value by name, without taking its seat."""

    def recall(self, graph: str, name: str) -> Sequence[bytes]:
        """What stages of a graph committed last as `state` under one name, also stages that it has no longer."""

    def holder(self, graph: str) -> Holder | None:
        """Who runs a graph now, without disturbing it; None when nobody does. May take two seconds."""

    def close(self) -> None:
        """Let go of everything. May be called twice."""
