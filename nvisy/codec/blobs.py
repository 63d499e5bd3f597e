"""Claim checks: what is too large for a message lies in a folder, named by its hash, and the message says so."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from nvisy.errors import CodecError, Rejected, Transient

MAX_BLOB_BYTES = 1 << 30
"""The largest blob that is read: a claim to more is not believed."""

_HEX_CHARS = 64


class Blobs:
    """A folder of blobs, each named by its SHA-256. Written once, never changed; any number of processes."""

    def __init__(self, folder: Path) -> None:
        """Blobs in `folder`, which must exist by the time that one is written or read."""
        self.folder = folder

    @classmethod
    def open(cls, environ: Mapping[str, str], default: Path | None) -> Blobs | None:
        """The folder `NVISY_BLOBS`, else `default`, which is created; None where neither is given."""
        named = environ.get("NVISY_BLOBS", "")
        if named:
            return cls(Path(named))
        if default is not None:
            default.mkdir(parents=True, exist_ok=True)
            return cls(default)
        return None

    def put(self, data: bytes) -> str:
        """Write `data`, durably, and return its SHA-256. The same bytes again cost a look.

        Raises:
            Rejected: The folder is not there.
            Transient: It cannot be written to: no space, no permission.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if not self.folder.is_dir():
            raise Rejected(
                f"{len(data)} bytes are too large for a message, and the folder for blobs, {self.folder}, is not "
                "there; create it, or set NVISY_BLOBS to a folder that every host can reach",
                kind="too_large",
                retryable=True,
            )
        try:
            if not path.exists():
                _write(path, data)
        except OSError as error:
            raise Transient(f"blob of {len(data)} bytes, {path}: {error.strerror}") from error
        return sha256

    def get(self, sha256: str, size: int) -> bytes:
        """The blob of `size` bytes with this hash.

        Raises:
            CodecError: The claim makes no sense, or the file is not what was claimed.
            Rejected: The file is not there.
            Transient: It cannot be read.
        """
        if not _is_sha256(sha256):
            raise CodecError("a claim check names its blob by 64 hexadecimal digits, and this one does not")
        if not 0 <= size <= MAX_BLOB_BYTES:
            raise CodecError(
                f"a claim check for {size} bytes is not believed: at most {MAX_BLOB_BYTES} are read"
            )
        path = self._path(sha256)
        try:
            found = path.stat().st_size
            data = path.read_bytes() if found == size else b""
        except FileNotFoundError:
            raise Rejected(
                f"the blob {path} that a record refers to is not there; NVISY_BLOBS has to name the folder that it was "
                "written to",
                kind="decode",
                retryable=True,
            ) from None
        except OSError as error:
            raise Transient(f"blob {path}: {error.strerror}") from error
        if found != size or hashlib.sha256(data).hexdigest() != sha256:
            raise CodecError(
                f"the blob {path} is not what was written: {found} bytes, {size} expected, or other ones"
            )
        return data

    def names(self) -> Iterator[tuple[str, float]]:
        """SHA-256 of every blob there is, and when it was written, in seconds since 1970.

        What a process that died was just writing has its path instead: `remove` takes that too.
        """
        for path in self.folder.glob("??/*"):
            try:
                yield path.name if _is_sha256(path.name) else str(path), path.stat().st_mtime
            except FileNotFoundError:
                continue

    def remove(self, name: str) -> bool:
        """Remove a blob, named as by `names`. False where it is not there.

        Raises:
            Transient: It cannot be removed.
        """
        path = self._path(name) if _is_sha256(name) else Path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise Transient(f"blob {path}: {error.strerror}") from error
        return True

    def where(self, sha256: str) -> str:
        """Path of a blob within the folder, for people and for consumers that have the folder too."""
        return f"{sha256[:2]}/{sha256}"

    def _path(self, sha256: str) -> Path:
        return self.folder / sha256[:2] / sha256


def _is_sha256(name: str) -> bool:
    return len(name) == _HEX_CHARS and all(digit in "0123456789abcdef" for digit in name)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
