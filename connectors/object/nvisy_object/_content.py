"""The content of a file as one version of it: hashed as it is read, and refused where it changed meanwhile."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nvisy.errors import Rejected

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HELD_BYTES = 64 << 10
"""Contents up to here are kept from hashing to loading; larger files are read twice instead."""
BLOCK_BYTES = 1 << 20
ATTEMPTS = 3

Signature = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Version:
    """A file as it was when all of it was read and nothing changed between the first byte and the last.

    Attributes:
        digest: Of the content, 16 bytes.
        content: The content itself where it is small.
    """

    path: Path
    size: int
    signature: Signature
    digest: bytes
    content: bytes | None

    def open(self) -> Content:
        """The content once more; `Content.digest` tells whether it is still the same."""
        return Content(self.path, self.size)

    def read(self) -> bytes:
        """The content.

        Raises:
            Rejected: It cannot be read, or is another by now.
        """
        if self.content is not None:
            return self.content
        try:
            with self.open() as content:
                read = b"".join(map(bytes, content.blocks()))
                self.must_equal(content)
        except OSError as error:
            raise unreadable(self.path, error) from None
        return read

    def must_equal(self, content: Content) -> None:
        """Refuse a content that was not this version's."""
        if content.digest != self.digest:
            raise changing(self.path)


class Content(io.FileIO):
    """The first `size` bytes of a regular file, hashed as they are read.

    What is appended meanwhile belongs to a later version. A link or a pipe that took the file's place is not followed.
    """

    def __init__(self, path: Path, size: int | None = None) -> None:
        super().__init__(path, opener=_opened)
        self._hash = hashlib.sha256()
        self._left = self.stat.st_size if size is None else size

    @property
    def stat(self) -> os.stat_result:
        """What the system says of the open file now."""
        return os.fstat(self.fileno())

    @property
    def digest(self) -> bytes:
        """Of what was read so far."""
        return self._hash.digest()[:16]

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read, and hash what was read."""
        room = memoryview(buffer).cast("B")[: self._left]
        count = super().readinto(room) or 0
        self._left -= count
        self._hash.update(room[:count])
        return count

    def blocks(self) -> Iterator[memoryview]:
        """The rest, a block at a time; a block is good until the next one is asked for."""
        block = memoryview(bytearray(min(BLOCK_BYTES, self._left)))
        while count := self.readinto(block):
            yield block[:count]


def _opened(path: str, flags: int) -> int:
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file any more")
    return file


def read_version(path: Path) -> Version:
    """Read a file until it was the same before and after, a few times at the most.

    Raises:
        OSError: It cannot be read.
        Rejected: It changes faster than it can be read.
    """
    for _ in range(ATTEMPTS):
        with Content(path) as content:
            before = content.stat
            held = bytearray() if before.st_size <= HELD_BYTES else None
            for block in content.blocks():
                if held is not None:
                    held += block
            if signature_of(before) == signature_of(content.stat):
                kept = None if held is None else bytes(held)
                return Version(path, before.st_size, signature_of(before), content.digest, kept)
    raise changing(path)


def signature_of(found: os.stat_result) -> Signature:
    """Changes whenever the file was written, replaced or touched."""
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def shown(path: Path | str) -> str:
    """A path as text that can be written down, whatever bytes its names are."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def unreadable(path: Path, error: OSError) -> Rejected:
    """That the system refuses to read it, and why."""
    reason = error.strerror or type(error).__name__
    return Rejected(
        f"cannot read {shown(path)}: {reason}; make it readable and run again",
        kind="unreadable",
        retryable=True,
    )


def changing(path: Path) -> Rejected:
    """That it changed under the reader's eyes."""
    return Rejected(
        f"{shown(path)} changed while it was read; the next pass reads it again",
        kind="changed",
        retryable=True,
    )
