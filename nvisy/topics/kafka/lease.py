"""The right to run a graph on Kafka: a lease in `<graph>.state` that its owner renews every second.

No clocks are compared. Whoever wants the lease watches it: renewed within five seconds, it is live; not renewed,
its owner is dead or cut off, and knows by its own clock that the lease is over. A run that died on this machine
is known at once by its lock file.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from nvisy.errors import NvisyError, Refused, Unreachable
from nvisy.fault_points import Point, reach
from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.kafka.scan import scan
from nvisy.topics.kafka.state import (
    CLAIM,
    lease_key,
    lease_name,
    lease_partition,
    make_state_topic,
    state_topic,
)
from nvisy.topics.kafka.topics import TRANSACTION_WAIT_S, Topics
from nvisy.topics.kafka.writer import Writer
from nvisy.topics.lock import is_locked, lock
from nvisy.topics.log import Append, Holder, LogRecord
from nvisy.topics.token import token_after

FORMAT = 1
LEASE_S = 5.0
RENEW_S = 1.0
WATCH_S = 0.25


class Lease(NamedTuple):
    """What the log says of a graph's lease.

    Attributes:
        owner: Who has it, `host:pid`.
        place: The owner's machine and lock file.
        token: What the claim is fenced with.
        offset: Offset of the record that renewed it last.
        live: False once it was given up.
        since_ms: When it was taken, by its owner's clock.
        config: Hash of the graph that is run, where other hosts may join; else empty.
    """

    owner: str
    place: str
    token: int
    offset: int
    live: bool
    since_ms: int | None = None
    config: str = ""

    @classmethod
    def of(cls, record: LogRecord) -> Lease:
        """The lease that a record speaks of.

        Raises:
            Refused: A later version of Nvisy wrote it.
        """
        said = json.loads(record.value or b"{}")
        if said.get("format") != FORMAT:
            raise Refused(
                f"a claim in topic {record.topic!r} has format {said.get('format')}, "
                f"this version of nvisy reads format {FORMAT}: upgrade nvisy"
            )
        return cls(
            said["owner"],
            said["place"],
            said["token"],
            record.offset,
            said["live"],
            said.get("since_ms"),
            said.get("config", ""),
        )


class Leases:
    """Reads and writes one lease of a graph: the claim, or by another name the place of a host beside it."""

    def __init__(self, cluster: Cluster, topics: Topics, graph: str, name: str = CLAIM) -> None:
        self.graph = graph
        self.name = name
        self._key = lease_key(name)
        self._partition = lease_partition(name)
        self.topic = state_topic(graph)
        self._cluster = cluster
        self._topics = topics
        make_state_topic(topics, graph)

    def latest(self, start: int = 0, *, settled: bool = False) -> Lease | None:
        """The lease as it is now, if it was written at or after offset `start` of its partition.

        With `settled`, nothing that was committed before the call is overlooked; see `nvisy.topics.log.Log.describe`.
        """
        return self.beside(start, settled=settled).get(self.name)

    def beside(self, start: int = 0, *, settled: bool = False) -> Mapping[str, Lease]:
        """This lease and those that lie beside it, as they are now, if they were written at or after offset `start`."""
        found: dict[str, Lease] = {}
        info = self._topics.existing(self.topic, settled=settled, only=[self._partition])
        for record in scan(self._cluster, info, {self._partition: start}):
            name = lease_name(record.key or b"")
            if name and record.value is not None:
                found[name] = Lease.of(record)
        return found

    def named(self, name: str) -> Leases:
        """Another lease of the graph."""
        return Leases(self._cluster, self._topics, self.graph, name)

    def open_writer(self) -> Writer:
        """A writer of the lease; fences whoever wrote it before."""
        return Writer(self._cluster, f"nvisy.{self.graph}.{self.name}")

    def write(self, writer: Writer, lease: Lease) -> None:
        """Take the lease, renew it, or give it up. Its offset is for the broker to say."""
        said = {name: value for name, value in lease._asdict().items() if name != "offset"}
        value = json.dumps({"format": FORMAT, **said}).encode()
        writer.append([Append(self.topic, self._partition, self._key, value)])
        writer.commit({}, None)

    def written_after(self, before: Lease | None) -> Lease:
        """The lease that was just committed: readers see it only once the broker has written its marker."""
        start = before.offset + 1 if before is not None else 0
        deadline = time.monotonic() + TRANSACTION_WAIT_S
        while (lease := self.latest(start)) is None:
            if time.monotonic() > deadline:
                raise Unreachable(f"the claim on graph {self.graph!r} was written but cannot be read")
        return lease

    def wait_until_over(self, lease: Lease) -> None:
        """Return once a live lease has not been renewed for its whole length; `Refused` as soon as it is."""
        deadline = time.monotonic() + LEASE_S
        while time.monotonic() < deadline:
            renewed = self.latest(lease.offset + 1)
            if renewed is not None and not renewed.live:
                return
            if renewed is not None:
                raise self.refusal(renewed.owner)
            time.sleep(WATCH_S)

    def refusal(self, owner: str) -> Refused:
        """The error for whoever comes second."""
        return Refused(
            f"graph {self.graph!r} is being run by {owner} on {self._cluster.url}: end that run first"
        )


def holder(leases: Leases, folder: Path) -> Holder | None:
    """Who renews the lease, watched for as long as two renewals take. `folder` holds this machine's lock files."""
    found = leases.latest()
    if found is None or not found.live:
        return None
    if found.place == _place_of(_lock_path(leases, folder)):
        return None if is_dead_here(found, leases, folder) else Holder(found.owner, found.since_ms)
    deadline = time.monotonic() + 2 * RENEW_S
    while (renewed := leases.latest(found.offset + 1)) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(WATCH_S)
    return Holder(renewed.owner, renewed.since_ms) if renewed.live else None


def take_lease(
    leases: Leases, owner: str, folder: Path, *, config: str = "", over: Lease | None = None
) -> KafkaClaim:
    """Claim a graph; `Refused` while a live run holds it. `over` was watched for its whole time, and not renewed."""
    path = _lock_path(leases, folder)
    descriptor = lock(path)
    if descriptor is None:
        found = leases.latest()
        raise leases.refusal(found.owner if found is not None else "another run")
    try:
        writer, lease, until = _write_claim(leases, owner, _place_of(path), config, over)
    except BaseException:
        os.close(descriptor)
        raise
    return KafkaClaim(leases, writer, lease, until, lambda: os.close(descriptor))


def is_dead_here(lease: Lease, leases: Leases, folder: Path) -> bool:
    """Whether its owner was a process of this machine, with the same `folder`, and is no more."""
    path = _lock_path(leases, folder)
    return lease.place == _place_of(path) and not is_locked(path)


def _lock_path(leases: Leases, folder: Path) -> Path:
    beside = "" if leases.name == CLAIM else f"@{leases.name}"  # no graph has such a name
    return (folder / f"{leases.graph}{beside}.lock").resolve()


def _place_of(path: Path) -> str:
    return f"{socket.gethostname()}:{path}"


def _write_claim(
    leases: Leases, owner: str, place: str, config: str, over: Lease | None
) -> tuple[Writer, Lease, float]:
    """Take the lease while holding the lock file of `place`: an owner there is dead. Returns until when, too."""
    found = leases.latest()
    if found is not None and found.live and found.place != place and found != over:
        leases.wait_until_over(found)
        found = leases.latest()
    writer = leases.open_writer()
    try:
        newer = leases.latest(settled=True)
        if newer is not None and newer.live and newer != found:
            raise leases.refusal(newer.owner)
        until = time.monotonic() + LEASE_S
        token = token_after(newer.token if newer is not None else 0)
        now_ms = time.time_ns() // 1_000_000
        leases.write(writer, Lease(owner, place, token, -1, live=True, since_ms=now_ms, config=config))
        return writer, leases.written_after(newer), until
    except BaseException:
        writer.close()
        raise


class KafkaClaim:
    """A lease, renewed by a thread of its own until it is released or lost."""

    def __init__(
        self, leases: Leases, writer: Writer, lease: Lease, until: float, unlock: Callable[[], None]
    ) -> None:
        self._leases = leases
        self._writer = writer
        self._lease = lease
        self._until = until
        self._unlock = unlock
        self._lost_to = ""
        self._is_released = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"claim {leases.graph}", daemon=True)
        self._thread.start()

    @property
    def token(self) -> int:
        """See `nvisy.topics.log.Claim`."""
        return self._lease.token

    def remaining_s(self) -> float:
        """See `nvisy.topics.log.Claim`."""
        return max(0.0, self._until - time.monotonic())

    @property
    def lost_to(self) -> str:
        """See `nvisy.topics.log.Claim`."""
        return self._lost_to

    @property
    def is_owner(self) -> bool:
        """See `nvisy.topics.log.Claim`."""
        return True

    @property
    def is_shared(self) -> bool:
        """See `nvisy.topics.log.Claim`."""
        return bool(self._lease.config)

    @property
    def is_over(self) -> bool:
        """See `nvisy.topics.log.Claim`."""
        return bool(self._lost_to)

    @property
    def host(self) -> int:
        """See `nvisy.topics.log.Claim`."""
        return 0

    def release(self) -> None:
        """Give the lease up; when the broker does not answer, it ends by itself."""
        if self._is_released:
            return
        self._is_released = True
        self._stop.set()
        self._thread.join()
        if self.remaining_s() > 0:
            try:
                self._write(live=False)
            except NvisyError:
                self._until = 0.0
        self._until = 0.0
        self._writer.close()
        self._unlock()

    def _keep(self) -> None:
        while not self._stop.wait(RENEW_S):
            began = time.monotonic()
            reach(Point.LEASE_RENEW)
            try:
                self._write(live=True)
            except NvisyError:
                if not self._regained():
                    continue
            self._until = began + LEASE_S

    def _regained(self) -> bool:
        """Renew with a new writer if nobody has taken the lease meanwhile; stop for good if somebody has."""
        try:
            if self._is_lost():  # before a new writer fences that of whoever has it
                return False
            self._writer.close()
            self._writer = self._leases.open_writer()
            if self._is_lost():
                return False
            self._write(live=True)
        except NvisyError:
            return False
        return True

    def _is_lost(self) -> bool:
        lease = self._leases.latest()
        if lease is not None and lease.token == self._lease.token:
            return False
        self._lost_to = lease.owner if lease is not None else "another run"
        self._until = 0.0
        self._stop.set()
        return True

    def _write(self, *, live: bool) -> None:
        self._leases.write(self._writer, self._lease._replace(live=live))
