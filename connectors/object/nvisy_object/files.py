"""`object/files`: the files below a folder, or the records of its files, as documents.

Unit: a file, keyed by its path relative to `path`; with `format`, a record, keyed `path#id` (a `#` in the path is
written `%23` there). Guarantee: every pass lists everything and compares contents by SHA-256, so a file that was
touched but not changed is not sent again, and one that was changed without its time being changed is; only between the
passes of one process do size and times vouch for a file. What a pass could not read is never taken for deleted.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from nvisy.connector.descriptor import Context, Params, SourceDescriptor
from nvisy.connector.shape import Shape
from nvisy.connector.source import Entry, Group, Item, SourceCapabilities, Unreadable
from nvisy.errors import Rejected, Unreachable
from nvisy.primitives import Document
from nvisy_object._content import Signature, Version, read_version, shown, unreadable
from nvisy_object._records import RecordFile, RecordFormat
from nvisy_object._walk import Found, Unlisted, Walk, compile_glob

SETTLED_AFTER_NS = 2_000_000_000
"""How long after its last write a file's times are trusted: file systems count in up to two seconds."""


class FilesParams(Params):
    """Which files, and what in them is a document."""

    path: Path = Field(description="A folder, or one file. Relative to the graph file.")
    glob: str = Field(
        "**/*",
        description="Which files below it. Names that begin with a dot only if the pattern names one; links never.",
    )
    format: Literal["jsonl", "csv"] | None = Field(
        None,
        description="Read each file as records, one document per record; without it a file is a document.",
    )
    key: str = Field("id", description="With `format`: the field that names a record within its file.")
    text: str = Field(
        "text", description="With `format`: the field that is the document's text; the rest is metadata."
    )
    max_bytes: int = Field(
        64 << 20,
        alias="maxBytes",
        ge=1,
        description="Larger files are dead letters (records files are streamed).",
    )
    poll_s: float = Field(
        1.0, alias="pollSeconds", gt=0, description="How often to look for changes when followed."
    )

    @field_validator("glob")
    @classmethod
    def _glob_means_something(cls, glob: str) -> str:
        try:
            compile_glob(glob)
        except re.error as error:
            raise ValueError(f"the pattern {glob!r} means nothing: {error}") from None
        return glob

    @model_validator(mode="after")
    def _fields_belong_to_a_format(self) -> Self:
        for name in ("key", "text"):
            if self.format is None and name in self.model_fields_set:
                raise ValueError(f'"{name}" names a field of a record: say "format" too, or leave it out')
        return self


class FilesSource:
    """Lists files. The signature of each is kept while the source is open, so that polling re-reads only what moved."""

    def __init__(self, params: FilesParams) -> None:
        self.capabilities = CAPABILITIES
        self._params = params
        self._walk = Walk(params.path, params.glob)
        self._listed: dict[str, _Listed] = {}
        self._device: int | None = None
        self._looked_at = 0.0

    def check(self) -> None:
        """The path has to be there: a folder that is not mounted must not look like one that was emptied."""
        path = self._params.path
        try:
            found = path.stat()
            if path.is_dir():
                os.scandir(path).close()
            elif path.is_file():
                path.open("rb").close()
            else:
                raise Unreachable(f'{shown(path)} is neither a file nor a folder; correct "path"')
        except FileNotFoundError:
            raise Unreachable(
                f'there is no file or folder {shown(path)}; correct "path", or mount it'
            ) from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Unreachable(f"cannot read {shown(path)}: {reason}; make it readable") from None
        if self._device not in (None, found.st_dev):
            raise Unreachable(f"{shown(path)} is on another device than before; mount what was there")
        self._device = found.st_dev

    def scan(self) -> Iterator[Entry]:
        """Everything there is now."""
        self.check()
        listed: dict[str, _Listed] = {}
        for found in self._walk:
            if isinstance(found, Unlisted):
                yield Unreadable(found.key, found.error, found.path.as_uri())
            elif entry := self._entry(found, listed):
                yield entry
        self.check()
        self._listed = listed
        self._looked_at = time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Look again once the poll interval has passed."""
        due_s = self._looked_at + self._params.poll_s - time.monotonic()
        if due_s > timeout_s:
            time.sleep(timeout_s)
            return False
        time.sleep(max(due_s, 0.0))
        moved = self._moved()
        self._looked_at = time.monotonic()
        return moved

    def close(self) -> None:
        """Nothing is held open."""

    def _moved(self) -> bool:
        count = 0
        for found in self._walk:
            if isinstance(found, Found):
                known = self._listed.get(found.key)
                if known is None or known.signature != found.signature or not known.settled:
                    return True
                count += 1
        return count != len(self._listed)

    def _entry(self, found: Found, listed: dict[str, _Listed]) -> Entry | None:
        """What to list for a file; nothing if it is gone by now."""
        params, uri = self._params, found.path.as_uri()
        # In the keys of records a `#` ends the file's name, so that no file's keys lie below another's.
        key = found.key if params.format is None else found.key.replace("#", "%23")
        failed_key = key if params.format is None else f"{key}#"
        listed[found.key] = _Listed(found.signature, b"", settled=True)
        if params.format is None and found.stat.st_size > params.max_bytes:
            return Unreadable(failed_key, _too_large(found, params.max_bytes), uri)
        try:
            version = self._version(found)
        except FileNotFoundError:
            del listed[found.key]
            return None
        except OSError as error:
            return Unreadable(failed_key, unreadable(found.path, error), uri)
        except Rejected as error:
            return Unreadable(failed_key, error, uri)
        listed[found.key] = _Listed(version.signature, version.digest, settled=not _is_recent(version))
        if params.format is None:
            return Item(key, version.digest, lambda: Document(content=version.read()), uri)
        spec = RecordFormat(params.format, params.key, params.text)
        return Group(key, spec.fingerprint(version), RecordFile(version, key, uri, spec).records, uri)

    def _version(self, found: Found) -> Version:
        known = self._listed.get(found.key)
        if known and known.settled and known.digest and known.signature == found.signature:
            return Version(found.path, found.stat.st_size, found.signature, known.digest, None)
        return read_version(found.path)


class _Listed(NamedTuple):
    """A file as the last pass found it. Not settled: a second write could have left the same signature behind."""

    signature: Signature
    digest: bytes
    settled: bool


def _is_recent(version: Version) -> bool:
    _, _, changed_ns, _ = version.signature
    return abs(time.time_ns() - changed_ns) < SETTLED_AFTER_NS


def _too_large(found: Found, max_bytes: int) -> Rejected:
    return Rejected(
        f'{shown(found.path)} has {found.stat.st_size} bytes, more than the {max_bytes} that "maxBytes" allows',
        kind="too_large",
    )


CAPABILITIES = SourceCapabilities(
    emits=frozenset({"Document"}), raw=True, deletes=True, bounded=True, resume="listing"
)


def _shape(params: FilesParams) -> Shape:
    return Shape(Document, raw=params.format is None)


def _open(params: FilesParams, _context: Context) -> FilesSource:
    return FilesSource(params)


DESCRIPTOR = SourceDescriptor(
    name="object/files",
    summary="Files below a folder, or the records of JSON Lines and CSV files; new, changed and deleted.",
    params=FilesParams,
    capabilities=CAPABILITIES,
    open=_open,
    shape=_shape,
    example={"path": "docs", "glob": "**/*.md"},
)
