"""Finding files below a folder, with nothing left out in silence."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from re import DOTALL, Pattern, escape
from re import compile as compile_pattern

from nvisy.errors import Rejected


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: its key (path relative to the root, with `/`), its path and what `stat` says."""

    key: str
    path: Path
    stat: os.stat_result

    @property
    def signature(self) -> tuple[int, int, int, int]:
        """Changes whenever the file was written, replaced or touched."""
        return (self.stat.st_size, self.stat.st_mtime_ns, self.stat.st_ctime_ns, self.stat.st_ino)


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A file or folder (its key then ends in `/`) that could not be looked at."""

    key: str
    path: Path
    error: Rejected


class Walk:
    """Lists the regular files below `root` whose key matches `glob`.

    Symbolic links are not followed, so that nothing outside the root is ever read; names that begin with a dot are
    left out unless the pattern names them.
    """

    def __init__(self, root: Path, glob: str) -> None:
        self._root = root
        self._pattern = _pattern(glob)
        self._hidden = any(part.startswith(".") for part in glob.split("/"))

    def __iter__(self) -> Iterator[Found | Unlisted]:
        """Every file, folder by folder, in the order of their names."""
        if self._root.is_file():
            yield Found(self._root.name, self._root, self._root.stat())
            return
        yield from self._folder(self._root, "")

    def _folder(self, folder: Path, prefix: str) -> Iterator[Found | Unlisted]:
        try:
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Unlisted(prefix, folder, _unreadable(folder, error))
            return
        for entry in listed:
            if entry.name.startswith(".") and not self._hidden:
                continue
            key = prefix + _text(entry.name)
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError as error:
                yield Unlisted(key, Path(entry.path), _unreadable(Path(entry.path), error))
                continue
            if stat.S_ISDIR(found.st_mode):
                yield from self._folder(Path(entry.path), f"{key}/")
            elif stat.S_ISREG(found.st_mode) and self._pattern.fullmatch(key):
                yield Found(key, Path(entry.path), found)


_TOKENS = compile_pattern(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", DOTALL)


def _pattern(glob: str) -> Pattern[str]:
    """`**/` stands for any folders or none; `*`, `?` and `[…]` stay within one name."""
    return compile_pattern("".join(_translated(token) for token in _TOKENS.findall(glob)), DOTALL)


def _translated(token: str) -> str:
    match token:
        case "**/":
            return "(?:[^/]+/)*"
        case "**":
            return ".*"
        case "*":
            return "[^/]*"
        case "?":
            return "[^/]"
        case _ if len(token) > 1:
            return (
                f"(?![/])[{'^' if token[1] == '!' else ''}{escape(token[1:-1].removeprefix('!'))}]".replace(
                    r"\-", "-"
                )
            )
        case _:
            return escape(token)


def _text(name: str) -> str:
    """A file's name as text that can be written down, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _unreadable(path: Path, error: OSError) -> Rejected:
    reason = error.strerror or type(error).__name__
    return Rejected(
        f"cannot read {path}: {reason}; make it readable and run again", kind="unreadable", retryable=True
    )
