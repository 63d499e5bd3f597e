"""Lock files: the system unlocks them when their owner dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from nvisy.errors import Unreachable


def lock(path: Path) -> int | None:
    """Descriptor of the file at `path`, locked for us alone; None when somebody else has it locked."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unreachable(f"cannot open the lock file {path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
