"""`object/files`: the files below a folder, or the records of its files, as documents.

Unit: a file, keyed by its path relative to `path`; with `format`, a record, keyed `path#id`. Guarantee: every pass
lists everything and compares contents by SHA-256, so a file that was touched but not changed is not sent again, and one
that was changed without its time being changed is. What a pass could not read is never taken for deleted.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from nvisy.connector.descriptor import Context, Params, SourceDescriptor
from nvisy.connector.shape import Shape
from nvisy.connector.source import Entry, Group, Item, SourceCapabilities, Unreadable
from nvisy.errors import Rejected, Unreachable
from nvisy.primitives import Document
from nvisy_object._records import RecordFormat, read_records
from nvisy_object._walk import Found, Unlisted, Walk

HELD_BYTES = 64 << 10
"""Contents up to here are kept from hashing to loading; larger files are read twice instead."""


class FilesParams(Params):
    """Which files, and what in them is a document."""

    path: Path = Field(description="A folder, or one file. Relative to the graph file.")
    glob: str = Field(
        "**/*", description="Which files below it. Names that begin with a dot only if the pattern does."
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


class FilesSource:
    """Lists files. The signature of each is kept while the source is open, so that polling re-reads only what moved."""

    def __init__(self, params: FilesParams) -> None:
        self.capabilities = CAPABILITIES
        self._params = params
        self._walk = Walk(params.path, params.glob)
        self._hashes: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self._listed: set[tuple[str, tuple[int, ...]]] = set()
        self._looked_at = 0.0

    def check(self) -> None:
        """The path has to be there: a folder that is not mounted must not look like one that was emptied."""
        path = self._params.path
        if not path.exists():
            raise Unreachable(f'there is no file or folder {path}; correct "path", or mount it')

    def scan(self) -> Iterator[Entry]:
        """Everything there is now."""
        self.check()
        listed: set[tuple[str, tuple[int, ...]]] = set()
        for found in self._walk:
            if isinstance(found, Unlisted):
                yield Unreadable(found.key, found.error, found.path.as_uri())
                continue
            listed.add((found.key, found.signature))
            yield self._entry(found)
        self._listed = listed
        self._hashes = {key: self._hashes[key] for key, _ in listed if key in self._hashes}
        self._looked_at = time.monotonic()

    def wait(self, timeout_s: float) -> bool:
        """Look again once the poll interval has passed."""
        due_s = self._looked_at + self._params.poll_s - time.monotonic()
        if due_s > timeout_s:
            time.sleep(timeout_s)
            return False
        time.sleep(max(due_s, 0.0))
        self._looked_at = time.monotonic()
        return {(f.key, f.signature) for f in self._walk if isinstance(f, Found)} != self._listed

    def close(self) -> None:
        """Nothing is held open."""

    def _entry(self, found: Found) -> Entry:
        uri = found.path.resolve().as_uri()
        params = self._params
        if params.format is None and found.stat.st_size > params.max_bytes:
            return Unreadable(found.key, _too_large(found, params.max_bytes), uri)
        try:
            fingerprint, content = self._fingerprint(found)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            return Unreadable(
                found.key,
                Rejected(f"cannot read {found.path}: {reason}", kind="unreadable", retryable=True),
                uri,
            )
        if params.format is not None:
            spec = RecordFormat(params.format, params.key, params.text)
            return Group(found.key, fingerprint, lambda: read_records(found.path, found.key, spec), uri)
        return Item(found.key, fingerprint, lambda: _document(found, content), uri)

    def _fingerprint(self, found: Found) -> tuple[bytes, bytes | None]:
        """SHA-256 of the content, and the content itself where it is small."""
        signature, known = self._hashes.get(found.key, ((), b""))
        if signature == found.signature and not _racy(found):
            return known, None
        digest = hashlib.sha256()
        content: bytes | None = None
        with found.path.open("rb") as file:
            if found.stat.st_size <= HELD_BYTES:
                content = file.read()
                digest.update(content)
            else:
                while block := file.read(1 << 20):
                    digest.update(block)
        self._hashes[found.key] = (found.signature, digest.digest()[:16])
        return digest.digest()[:16], content


def _racy(found: Found) -> bool:
    """Written so lately that a second write could have left the same time behind."""
    return time.time_ns() - found.stat.st_mtime_ns < 2_000_000_000


def _document(found: Found, content: bytes | None) -> Document:
    if content is None:
        try:
            content = found.path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Rejected(f"cannot read {found.path}: {reason}", kind="unreadable", retryable=True) from None
    return Document(content=content)


def _too_large(found: Found, max_bytes: int) -> Rejected:
    return Rejected(
        f'{found.path} has {found.stat.st_size} bytes, more than the {max_bytes} that "maxBytes" allows',
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
