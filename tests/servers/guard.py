"""Ends the servers of a test session when the session ends, however it ends.

It runs as a process of its own and waits until its standard input closes, which happens also when pytest is
killed.
"""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.servers.runner import Container, LocalProcess

_ROOT = Path(__file__).parents[2]


def start_guard(folder: Path) -> "subprocess.Popen[bytes]":
    """Starts the guard of a session's folder; closing its standard input ends the session."""
    return subprocess.Popen(
        [sys.executable, "-m", "tests.servers.guard", str(folder)],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def end_session(folder: Path) -> None:
    """Ends every server that has its folder in `folder`, then removes the folder."""
    for pid_file in folder.glob("*/pid.json"):
        LocalProcess(pid_file.parent).remove()
    for id_file in folder.glob("*/container.txt"):
        Container(id_file.parent).remove()
    shutil.rmtree(folder)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stdin.read()
    end_session(Path(sys.argv[1]))
