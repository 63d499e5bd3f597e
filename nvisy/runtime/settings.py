"""Where a run finds its log and keeps what it needs on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nvisy.topics.log import Log
from nvisy.topics.open import open_log


@dataclass(frozen=True, slots=True)
class Settings:
    """The surroundings of a run.

    Attributes:
        state: Folder of the embedded log, of caches and of local positions: `.nvisy` of the working directory.
        log_url: `kafka://host:port`, or None for the embedded log.
        environ: Variables that credentials and references are read from.
    """

    state: Path
    log_url: str | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, folder: Path | None = None) -> Settings:
        """`NVISY_LOG` names the log, `NVISY_STATE` the folder; the folder is `.nvisy` where nobody says otherwise."""
        environ = os.environ if environ is None else environ
        state = Path(environ.get("NVISY_STATE") or (folder or Path.cwd()) / ".nvisy").resolve()
        return cls(state, environ.get("NVISY_LOG") or None, environ)

    def open_log(self) -> Log:
        """Open the log. Connects when it is first used."""
        return open_log(self.log_url, root=self.state / "log", environ=self.environ)
