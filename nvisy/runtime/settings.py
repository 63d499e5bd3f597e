"""Where a run finds its log and keeps what it needs on this machine."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nvisy.errors import UsageError
from nvisy.topics.log import Log
from nvisy.topics.open import open_log


@dataclass(frozen=True, slots=True)
class Settings:
    """The surroundings of a run.

    Attributes:
        state: Folder of the embedded log, of caches and of local positions: `.nvisy` of the working directory.
        log_url: `kafka://host:port`, or None for the embedded log.
        environ: Variables that credentials and references are read from.
        hang_s: Seconds in which nothing moves in a stage after which its process is ended and started again, where its
            nodes have no `timeout` of their own.
    """

    state: Path
    log_url: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    hang_s: float = 120.0

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
        """`NVISY_LOG` names the log, `NVISY_STATE` the folder, `.nvisy` where nobody says otherwise.

        `NVISY_HANG_S` is the time after which a stage in which nothing moves is taken to hang.

        Raises:
            UsageError: A variable makes no sense.
        """
        environ = os.environ if environ is None else environ
        state = Path(environ.get("NVISY_STATE") or (folder or Path.cwd()) / ".nvisy").resolve()
        return cls(state, environ.get("NVISY_LOG") or None, environ, _seconds(environ, "NVISY_HANG_S", 120.0))

    def open_log(self) -> Log:
        """Open the log. Connects when it is first used."""
        return open_log(self.log_url, root=self.state / "log", environ=self.environ)


def _seconds(environ: Mapping[str, str], name: str, otherwise: float) -> float:
    said = environ.get(name)
    try:
        seconds = float(said) if said else otherwise
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < math.inf:
        raise UsageError(f"{name} is a number of seconds, not {said!r}")
    return seconds
