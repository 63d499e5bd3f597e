"""The right to run a graph on an embedded log: a locked file, unlocked by the system when its owner dies."""

from __future__ import annotations

import math
import os


class FileClaim:
    """A claim that lasts as long as the lock is held."""

    def __init__(self, descriptor: int, token: int) -> None:
        self._descriptor: int | None = descriptor
        self._token = token

    @property
    def token(self) -> int:
        """How many claims of the graph there have been, this one included."""
        return self._token

    def remaining_s(self) -> float:
        """For ever, until it is released."""
        return math.inf if self._descriptor is not None else 0.0

    @property
    def lost_to(self) -> str:
        """Nobody: the lock is held for as long as the process lives, also while it is paused."""
        return ""

    @property
    def is_owner(self) -> bool:
        """See `nvisy.topics.log.Claim`."""
        return True

    @property
    def is_shared(self) -> bool:
        """Never: other hosts cannot reach the log."""
        return False

    @property
    def is_over(self) -> bool:
        """Never before it is released: the lock is held for as long as the process lives."""
        return False

    @property
    def host(self) -> int:
        """See `nvisy.topics.log.Claim`."""
        return 0

    def release(self) -> None:
        """Unlock the file. The file stays: removing it would let two runs lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
