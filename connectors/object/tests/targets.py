"""Folders as the suite for sources wants them: what a test may do to the files that are read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nvisy_object.files import FilesParams, FilesSource


class Folder:
    """A document is a file."""

    def __init__(self, path: Path, monkeypatch: Any, **params: Any) -> None:
        self.path = path
        self.path.mkdir()
        self._params = {"path": path, "poll_s": 0.05, **params}
        self._refused: set[str] = set()
        refuse(monkeypatch, self._refused)

    def open(self):
        return FilesSource(FilesParams(**self._params))

    def put(self, name: str, text: str) -> None:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        self._refused.discard(str(path))

    def remove(self, name: str) -> None:
        (self.path / name).unlink()

    def spoil(self, name: str) -> None:
        self._refused.add(str(self.path / name))

    def spoil_part(self, part: str) -> None:
        self._refused.add(str(self.path / part))

    def vanish(self) -> None:
        self.path.rename(self.path.with_name("elsewhere"))

    def contents(self) -> Any:
        return {path: (path.lstat().st_mtime_ns, path.read_bytes()) for path in self.files()}

    def files(self) -> list[Path]:
        return sorted(path for path in self.path.rglob("*") if path.is_file())


class RecordsFolder(Folder):
    """A document is a record: `part/word` is the record `word` of the file `part`."""

    suffix = ".jsonl"

    def __init__(self, path: Path, monkeypatch: Any, **params: Any) -> None:
        super().__init__(path, monkeypatch, **{"format": self.suffix[1:], **params})
        self._records: dict[Path, dict[str, str]] = {}

    def put(self, name: str, text: str) -> None:
        self._set(name, self.record(name.rpartition("/")[2], text))

    def remove(self, name: str) -> None:
        self._set(name, None)

    def spoil(self, name: str) -> None:
        self._set(name, self.broken)

    def spoil_part(self, part: str) -> None:
        self._refused.add(str(self.path / (part + self.suffix)))

    broken = '{"id": "torn'
    header = ""

    def record(self, record_id: str, text: str) -> str:
        return json.dumps({"id": record_id, "text": text})

    def _set(self, name: str, line: str | None) -> None:
        part, _, word = name.rpartition("/")
        path = self.path / ((part or "main") + self.suffix)
        records = self._records.setdefault(path, {})
        if line is None:
            del records[word]
        else:
            records[word] = line
        if records:
            path.write_text(self.header + "".join(f"{line}\n" for line in records.values()), newline="")
        else:
            path.unlink()


class CsvFolder(RecordsFolder):
    suffix = ".csv"
    header = "id,text\n"
    broken = "one,two,three"

    def record(self, record_id: str, text: str) -> str:
        return ",".join('"' + field.replace('"', '""') + '"' for field in (record_id, text))


def refuse(monkeypatch: Any, refused: set[str]) -> None:
    """Make the system refuse to open or list these paths, which it does not do for root of its own."""
    real_open, real_scandir = os.open, os.scandir

    def open_(path, flags, *args, **kwargs):
        if str(path) in refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, flags, *args, **kwargs)

    def scandir(path):
        if str(path) in refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr(os, "open", open_)
    monkeypatch.setattr(os, "scandir", scandir)
