"""The folder of one test session, and the servers all of its workers share."""

import fcntl
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

FOLDER_VARIABLE = "NVISY_TEST_SESSION"
_MEMORY_DISK = Path("/dev/shm")
_ENOUGH_MEMORY_DISK_BYTES = 4 * 2**30
_BELOW_OUTGOING_PORTS = range(12_000, 30_000)


def new_session_folder() -> Path:
    """Makes the folder of a session, on the memory disk if that is large enough.

    A server that drops root's rights passes through the folder without being able to list it.
    """
    folder = Path(tempfile.mkdtemp(prefix="nvisy-", dir=memory_disk()))
    folder.chmod(0o711)
    return folder


def memory_disk() -> Path | None:
    """The memory disk, if there is one that is large enough for servers and tests: nothing there waits for a disk."""
    in_memory = _MEMORY_DISK.is_dir() and os.access(_MEMORY_DISK, os.W_OK)
    enough = in_memory and shutil.disk_usage(_MEMORY_DISK).free >= _ENOUGH_MEMORY_DISK_BYTES
    return _MEMORY_DISK if enough else None


def session_folder() -> Path:
    """The folder of the running test session; the guard stops every server that has its own folder in it."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        raise RuntimeError(f"{FOLDER_VARIABLE} is not set: servers are started inside a pytest session only")
    return Path(folder)


def private_folder(kind: str) -> Path:
    """Makes a folder for a server that belongs to one test."""
    folder = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=session_folder()))
    folder.chmod(0o711)
    return folder


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file; it ends with the process that holds it, however that ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_ports(count: int) -> list[int]:
    """Loopback ports nobody listens on, below those the system gives to outgoing connections.

    A server that is killed and started again must find its port as it left it, and no outgoing connection of
    another process may sit on it meanwhile.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(_BELOW_OUTGOING_PORTS)
        if port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
