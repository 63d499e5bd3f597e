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
from nvisy_object._content import Signature, shown, signature_of, unreadable


@dataclass(frozen=True, slots=True)
class Found:
    """A regular file: its key (path relative to the root, with `/`), its path and what `stat` says."""

    key: str
    path: Path
    stat: os.stat_result

    @property
    def signature(self) -> Signature:
        """Changes whenever the file was written, replaced or touched."""
        return signature_of(self.stat)


@dataclass(frozen=True, slots=True)
class Unlisted:
    """A file or folder (its key then ends in `/`) that could not be looked at."""

    key: str
    path: Path
    error: Rejected


class Walk:
    """Lists the regular files below `root` whose key matches `glob`; a root that is a file is the only one.

    Symbolic links below the root are not followed, so that nothing outside it is ever read; names that begin with a
    dot are left out unless the pattern names them. What disappears while the walk goes on is not listed.
    """

    def __init__(self, root: Path, glob: str) -> None:
        self._root = root
        self._pattern = compile_glob(glob)
        self._hidden = any(part.startswith(".") for part in glob.split("/"))

    def __iter__(self) -> Iterator[Found | Unlisted]:
        """Every file, folder by folder, in the order of their names."""
        root = self._root.resolve()
        if root.is_file():
            yield Found(shown(root.name), root, root.stat())
            return
        pending = [("", str(root))]
        while pending:
            prefix, folder = pending.pop()
            folders: list[tuple[str, str]] = []
            try:
                for entry in _entries(folder):
                    if self._hidden or not entry.name.startswith("."):
                        yield from self._look(entry, prefix, folders)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield Unlisted(prefix, Path(folder), unreadable(Path(folder), error))
            pending += reversed(folders)

    def _look(
        self, entry: os.DirEntry[str], prefix: str, folders: list[tuple[str, str]]
    ) -> Iterator[Found | Unlisted]:
        key = prefix + shown(entry.name)
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as error:
            yield Unlisted(key, Path(entry.path), unreadable(Path(entry.path), error))
            return
        if stat.S_ISDIR(found.st_mode):
            folders.append((f"{key}/", entry.path))
        elif stat.S_ISREG(found.st_mode) and self._pattern.fullmatch(key):
            yield Found(key, Path(entry.path), found)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


_TOKENS = compile_pattern(r"\*\*/|\*\*|\*|\?|\[!?[^\]]+\]|.", DOTALL)


def compile_glob(glob: str) -> Pattern[str]:
    """`**/` stands for any folders or none; `*`, `?` and `[…]` stay within one name.

    Raises:
        re.error: A `[…]` that means nothing.
    """
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
            negated, members = token[1] == "!", escape(token[1:-1].removeprefix("!")).replace(r"\-", "-")
            return f"(?!/)[{'^' if negated else ''}{members}]"
        case _:
            return escape(token)
