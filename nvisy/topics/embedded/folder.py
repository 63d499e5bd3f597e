"""The folder of an embedded log: private, and on a disk whose locks can be trusted."""

from __future__ import annotations

from pathlib import Path

from nvisy.errors import Refused, Unreachable

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "fuse.sshfs", "fuse.s3fs"})
_MOUNTS = Path("/proc/mounts")


def private_folder(path: Path) -> Path:
    """The folder itself, made with mode 0700 if it was not there.

    Raises:
        Refused: It is on a network file system, where file locks and shared memory do not hold.
        Unreachable: It cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unreachable(f"cannot make the folder {path}: {error.strerror}") from error
    kind = _file_system(path.resolve())
    if kind in _NETWORK:
        raise Refused(
            f"{path} is on a network file system ({kind}): put the log on a local disk, or use Kafka"
        )
    return path


def _file_system(path: Path) -> str:
    """Type of the file system `path` is on, or empty where the system does not tell."""
    if not _MOUNTS.exists():
        return ""
    mounts = (line.split()[1:3] for line in _MOUNTS.read_text().splitlines())
    under = [(len(point), kind) for point, kind in mounts if path.is_relative_to(point.replace("\\040", " "))]
    return max(under, default=(0, ""))[1]
