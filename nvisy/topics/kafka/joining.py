"""A host's part in running a graph with others: a number among them, and a share in whichever claim is live.

The host that holds the claim renews it; the others watch, and each renews a lease of its own on its number. When the
claim is given up, or not renewed for its whole time, they are the first to know: one of them takes the next claim, with
a token of its own, and the rest have a share in that. So whoever belonged to an earlier claim is fenced.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from nvisy.errors import NvisyError, Refused, Unreachable
from nvisy.topics.kafka.lease import (
    LEASE_S,
    RENEW_S,
    WATCH_S,
    KafkaClaim,
    Lease,
    Leases,
    is_dead_here,
    take_lease,
)
from nvisy.topics.kafka.state import HOST

OUTAGE_S = 3 * LEASE_S
"""How long the owner may need to renew the claim once the log answers again."""
_RETRY_S = 1.0

_logger = logging.getLogger("nvisy.topics")


class KafkaMembership:
    """See `nvisy.topics.log.Membership`. `folder` holds this machine's lock files."""

    def __init__(self, leases: Leases, owner: str, config: str, folder: Path) -> None:
        self._leases = leases
        self._owner = owner
        self._config = config
        self._folder = folder
        self._number = 0
        self._place: KafkaClaim | None = None
        self._watch: Watch | None = None
        self._has_entered = False

    def enter(self, is_wanted: Callable[[], bool]) -> Share | None:
        """See `nvisy.topics.log.Membership`."""
        while is_wanted():
            try:
                share = self._enter()
            except Unreachable as error:
                if not self._has_entered:
                    raise
                _logger.warning("%s; trying again", error)
                share = None
            if share is not None:
                self._has_entered = True
                return share
            time.sleep(_RETRY_S)
        return None

    def leave(self) -> None:
        """See `nvisy.topics.log.Membership`."""
        if self._place is not None:
            self._place.release()
        self._place, self._number = None, 0

    def _enter(self) -> Share | None:
        """A share, or None where somebody else was quicker: look again."""
        live, over = self._look()
        if live is None:
            try:
                claim = take_lease(self._leases, self._owner, self._folder, config=self._config, over=over)
            except Refused as error:
                _logger.debug("%s", error)
                return None
            return Share(claim, self._number, self._place)
        self._check(live)
        if self._place is None or self._place.is_over:
            self.leave()
            if not self._take_place():
                return None
        self._watch = Watch(self._leases, live)
        return Share(self._watch, self._number, self._place)

    def _look(self) -> tuple[Lease | None, Lease | None]:
        """The live claim, or none; and the one that was found not to be renewed."""
        found = self._leases.latest()
        if found is None or not found.live:
            return None, None
        was_watched = self._watch is not None and self._watch.is_silent and self._watch.lease == found
        if was_watched or is_dead_here(found, self._leases, self._folder):
            return None, found
        deadline = time.monotonic() + LEASE_S
        while (renewed := self._leases.latest(found.offset + 1)) is None:
            if time.monotonic() > deadline:
                return None, found
            time.sleep(WATCH_S)
        return (renewed, None) if renewed.live else (None, None)

    def _check(self, lease: Lease) -> None:
        if lease.config == self._config:
            return
        why = (
            "from another version of the graph: give every host the same file"
            if lease.config
            else "and not with --follow: nobody can join that run"
        )
        raise Refused(f"graph {self._leases.graph!r} is being run by {lease.owner}, {why}")

    def _take_place(self) -> bool:
        """The lowest number that no live host has."""
        hosts = self._leases.named(HOST)
        first = hosts.beside()
        taken = self._renewed(hosts, {name: lease for name, lease in first.items() if lease.live})
        for number in count(1):  # 0 is for whoever claims a graph that nobody runs
            name = f"{HOST}{number}"
            if name in taken:
                continue
            try:
                self._place = take_lease(
                    self._leases.named(name), self._owner, self._folder, over=first.get(name)
                )
            except Refused as error:
                _logger.debug("%s", error)
                return False
            self._number = number
            return True
        raise AssertionError("numbers do not end")

    def _renewed(self, hosts: Leases, watched: Mapping[str, Lease]) -> set[str]:
        """Which of these leases are renewed, watched for as long as it takes to know."""
        renewed: set[str] = set()
        waiting = set(watched)
        start = max((lease.offset for lease in watched.values()), default=0) + 1
        deadline = time.monotonic() + LEASE_S
        while waiting and time.monotonic() < deadline:
            time.sleep(WATCH_S)
            for name, lease in hosts.beside(start).items():
                start = max(start, lease.offset + 1)
                waiting.discard(name)
                renewed |= {name} if lease.live else set()
        return renewed


class Watch:
    """Another host's claim, watched by a thread until it is over.

    Attributes:
        lease: As it was renewed last.
        is_silent: It was not renewed for its whole time.
        is_over: It is over, for this reason or another.
    """

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases = leases
        self.lease = lease
        self.is_silent = False
        self.is_over = False
        self._until = self._patient_until = time.monotonic() + LEASE_S
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name=f"watch {leases.graph}", daemon=True)
        self._thread.start()

    @property
    def token(self) -> int:
        """The owner's."""
        return self.lease.token

    def remaining_s(self) -> float:
        """For how long the claim is known to be live."""
        return 0.0 if self.is_over else max(0.0, self._until - time.monotonic())

    def release(self) -> None:
        """Look away."""
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self.is_over and not self._stop.wait(RENEW_S):
            began = time.monotonic()
            try:
                found = self._leases.latest(self.lease.offset + 1)
            except NvisyError as error:
                _logger.debug("%s", error)
                self._patient_until = time.monotonic() + OUTAGE_S  # nobody else can renew it, either
                continue
            if found is None:
                self.is_silent = self.is_over = began > self._patient_until
            elif not found.live or found.token != self.lease.token:
                self.is_over = True
            else:
                self.lease = found
                self._until = self._patient_until = began + LEASE_S


class Share:
    """What a host has of a claim: the claim itself, or a view of it; and its number. See `nvisy.topics.log.Claim`."""

    def __init__(self, claim: KafkaClaim | Watch, number: int, place: KafkaClaim | None) -> None:
        self._claim = claim
        self._place = place
        self.host = number
        self.is_owner = isinstance(claim, KafkaClaim)
        self.is_shared = True

    @property
    def token(self) -> int:
        """See `nvisy.topics.log.Claim`."""
        return self._claim.token

    def remaining_s(self) -> float:
        """See `nvisy.topics.log.Claim`."""
        place_s = self._place.remaining_s() if self._place is not None else LEASE_S
        return min(self._claim.remaining_s(), place_s)

    @property
    def lost_to(self) -> str:
        """See `nvisy.topics.log.Claim`."""
        return self._claim.lost_to if isinstance(self._claim, KafkaClaim) else ""

    @property
    def is_over(self) -> bool:
        """See `nvisy.topics.log.Claim`. Without its number a host cannot go on, either."""
        return self._claim.is_over or (self._place is not None and self._place.is_over)

    def release(self) -> None:
        """See `nvisy.topics.log.Claim`."""
        self._claim.release()
