"""Lock files: the system unlocks them when their owner dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from nvisy.errors import Unreachable

_TRIES = 5
_PAUSE_S = 0.01


def lock(path: Path) -> int | None:
    """Descriptor of the file at `path`, locked for us alone; None when somebody else has it locked.

    The time at which it was changed last is then the time at which it was locked.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unreachable(f"cannot open the lock file {path}: {error.strerror}") from error
    for left in reversed(range(_TRIES)):  # `is_locked` holds the file for a moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if not left:
                os.close(descriptor)
                return None
            time.sleep(_PAUSE_S)
    os.utime(descriptor)
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether somebody has the file locked, found out without taking it from anybody."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
