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
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from nvisy.errors import NvisyError, Refused, Unreachable
from nvisy.fault_points import Point, reach
from nvisy.topics.kafka.cluster import Cluster
from nvisy.topics.kafka.scan import scan
from nvisy.topics.kafka.state import CLAIM_KEY, state_topic
from nvisy.topics.kafka.topics import STATE_SETTINGS, Topics
from nvisy.topics.kafka.writer import Writer
from nvisy.topics.lock import is_locked, lock
from nvisy.topics.log import Append, Holder
from nvisy.topics.token import token_after

FORMAT = 1
LEASE_S = 5.0
_RENEW_S = 1.0
_WATCH_S = 0.25


class Lease(NamedTuple):
    """What the log says of a graph's lease.

    Attributes:
        owner: Who has it, `host:pid`.
        place: The owner's machine and lock file.
        token: What the claim is fenced with.
        offset: Offset of the record that renewed it last.
        live: False once it was given up.
        since_ms: When it was taken, by its owner's clock.
    """

    owner: str
    place: str
    token: int
    offset: int
    live: bool
    since_ms: int | None = None


class Leases:
    """Reads and writes the lease of one graph."""

    def __init__(self, cluster: Cluster, topics: Topics, graph: str) -> None:
        self.graph = graph
        self.topic = state_topic(graph)
        self._cluster = cluster
        self._topics = topics
        topics.create(self.topic, 1, STATE_SETTINGS)

    def latest(self, start: int = 0) -> Lease | None:
        """The lease as it is now, if it was written at or after offset `start`."""
        found: Lease | None = None
        for record in scan(self._cluster, self._topics.existing(self.topic), {0: start}):
            if record.key == CLAIM_KEY and record.value is not None:
                said = json.loads(record.value)
                self._check_format(said["format"])
                found = Lease(
                    said["owner"],
                    said["place"],
                    said["token"],
                    record.offset,
                    said["live"],
                    said.get("since_ms"),
                )
        return found

    def open_writer(self) -> Writer:
        """A writer of the lease; fences whoever wrote it before."""
        return Writer(self._cluster, f"nvisy.{self.graph}.claim")

    def write(self, writer: Writer, lease: Lease) -> None:
        """Take the lease, renew it, or give it up. Its offset is for the broker to say."""
        said = {name: value for name, value in lease._asdict().items() if name != "offset"}
        value = json.dumps({"format": FORMAT, **said}).encode()
        writer.append([Append(self.topic, 0, CLAIM_KEY, value)])
        writer.commit({}, None)

    def _check_format(self, found: int) -> None:
        if found != FORMAT:
            raise Refused(
                f"the claim in topic {self.topic!r} has format {found}, "
                f"this version of nvisy reads format {FORMAT}: upgrade nvisy"
            )

    def written_after(self, before: Lease | None) -> Lease:
        """The lease that was just committed: readers see it only once the broker has written its marker."""
        start = before.offset + 1 if before is not None else 0
        deadline = time.monotonic() + LEASE_S
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
            time.sleep(_WATCH_S)

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
    path = _lock_path(leases, folder)
    if found.place == _place_of(path):
        return Holder(found.owner, found.since_ms) if is_locked(path) else None
    deadline = time.monotonic() + 2 * _RENEW_S
    while (renewed := leases.latest(found.offset + 1)) is None:
        if time.monotonic() > deadline:
            return None
        time.sleep(_WATCH_S)
    return Holder(renewed.owner, renewed.since_ms) if renewed.live else None


def take_lease(leases: Leases, owner: str, folder: Path) -> KafkaClaim:
    """Claim a graph; `Refused` while a live run holds it."""
    path = _lock_path(leases, folder)
    descriptor = lock(path)
    if descriptor is None:
        found = leases.latest()
        raise leases.refusal(found.owner if found is not None else "another run")
    try:
        writer, lease, until = _write_claim(leases, owner, _place_of(path))
    except BaseException:
        os.close(descriptor)
        raise
    return KafkaClaim(leases, writer, lease, until, lambda: os.close(descriptor))


def _lock_path(leases: Leases, folder: Path) -> Path:
    return (folder / f"{leases.graph}.lock").resolve()


def _place_of(path: Path) -> str:
    return f"{socket.gethostname()}:{path}"


def _write_claim(leases: Leases, owner: str, place: str) -> tuple[Writer, Lease, float]:
    """Take the lease while holding the lock file of `place`: an owner there is dead. Returns until when, too."""
    found = leases.latest()
    if found is not None and found.live and found.place != place:
        leases.wait_until_over(found)
        found = leases.latest()
    writer = leases.open_writer()
    newer = leases.latest()
    if newer is not None and newer.live and newer != found:
        writer.close()
        raise leases.refusal(newer.owner)
    until = time.monotonic() + LEASE_S
    token = token_after(newer.token if newer is not None else 0)
    leases.write(writer, Lease(owner, place, token, -1, live=True, since_ms=time.time_ns() // 1_000_000))
    return writer, leases.written_after(newer), until


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

    def release(self) -> None:
        """Give the lease up; when the broker does not answer, it ends by itself."""
        if self._stop.is_set():
            return
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
        while not self._stop.wait(_RENEW_S):
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
